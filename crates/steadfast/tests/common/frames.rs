//! An HTTP/2 client that writes its frames by hand, and may break any rule.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::soon;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload[at..at + 4].try_into().expect("four bytes");
        u32::from_be_bytes(code)
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block without compression.
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend(text.as_bytes());
        }
    }
    block
}

pub(crate) fn request(
    stream: u32,
    method: &str,
    path: &str,
    flags: u8,
    more: &[(&str, &str)],
) -> Vec<u8> {
    let mut headers = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
    ];
    headers.extend(more);
    frame(HEADERS, flags | END_HEADERS, stream, &block(&headers))
}

/// The client.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) socket: TcpStream,
    /// Whether it acknowledges pings.
    pub(crate) acknowledges: bool,
}

impl Frames {
    /// Connects, and says how large the window of a stream is.
    pub(crate) async fn connect(address: SocketAddr, window: u32) -> Self {
        let socket = TcpStream::connect(address).await.expect("a connection");
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        let mut client = Self {
            socket,
            acknowledges: true,
        };
        client.send(PREFACE).await;
        client.send(frame(SETTINGS, 0, 0, &settings)).await;
        client
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// Sends if somebody still listens.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).await.is_ok()
    }

    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        self.send(request(stream, "GET", path, END_STREAM, &[]))
            .await;
    }

    /// Lets the server send as much more; on stream 0, over the whole connection.
    pub(crate) async fn allow(&mut self, stream: u32, bytes: u32) {
        self.send(frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()))
            .await;
    }

    /// Reads a frame; `None` at the end of the connection. Acknowledges what asks for it.
    ///
    /// # Cancel safety
    /// None.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        soon("a frame", self.socket.read_exact(&mut head))
            .await
            .ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        soon("its payload", self.socket.read_exact(&mut payload))
            .await
            .ok()?;
        let [.., kind, flags, a, b, c, d] = head;
        let stream = u32::from_be_bytes([a, b, c, d]);
        if self.acknowledges && flags & ACK == 0 {
            match kind {
                SETTINGS => _ = self.try_send(frame(SETTINGS, ACK, 0, &[])).await,
                PING => _ = self.try_send(frame(PING, ACK, 0, &payload)).await,
                _ => {}
            }
        }
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }

    /// Reads until a frame of this kind comes on this stream; `None` at the end before.
    pub(crate) async fn until(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind && frame.stream == stream {
                return Some(frame);
            }
        }
    }

    /// Reads the bodies of a stream to its end; `None` if it was reset or the connection ended.
    pub(crate) async fn body(&mut self, stream: u32) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let frame = self.next().await?;
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                DATA => body.extend(&frame.payload),
                RST_STREAM => return None,
                _ => {}
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return Some(body);
            }
        }
    }
}
