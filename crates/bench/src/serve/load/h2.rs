//! HTTP/2 with prior knowledge (RFC 9113): so many streams under way on a connection, with
//! windows that never close.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Body, Counter, unexpected};

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Largest window, and the one that a connection begins with.
const WINDOW_MAX: u32 = 0x7fff_ffff;
const WINDOW_FIRST: u32 = 65_535;

/// After so many bytes the connection's window is opened again.
const WINDOW_STEP: u32 = 1 << 28;

const READ_MAX: usize = 256 * 1024;

pub(super) async fn ask(
    mut socket: TcpStream,
    body: Body,
    streams: u32,
    mut counter: Counter,
) -> io::Result<()> {
    let mut peer = Peer::new(body.path());
    for _ in 0..streams.min(u32::try_from(counter.left).unwrap_or(streams)) {
        peer.ask();
    }
    let mut asked = u64::from(peer.asked);
    let most = counter.left;
    let (mut bytes, mut have) = (vec![0; READ_MAX], 0);
    loop {
        socket.write_all(&peer.out).await?;
        peer.out.clear();
        match socket.read(&mut bytes[have..]).await? {
            0 => return Err(unexpected("the connection ended")),
            read => have += read,
        }
        let (mut from, mut more) = (0, true);
        while let Some(frame) = Frame::at(&bytes[from..have]) {
            from += HEAD + frame.payload.len();
            if peer.takes(&frame)? {
                more = counter.answered();
                if asked < most {
                    asked += 1;
                    peer.ask();
                }
            }
        }
        if !more {
            return Ok(());
        }
        bytes.copy_within(from..have, 0);
        have -= from;
    }
}

/// A connection's first bytes, with one request.
pub(crate) fn one(path: &str) -> Vec<u8> {
    let mut peer = Peer::new(path);
    peer.ask();
    peer.out
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that these bytes begin with, if it is whole.
    fn at(bytes: &'a [u8]) -> Option<Self> {
        let [high, middle, low, kind, flags, ..] = *bytes.get(..HEAD)? else {
            return None;
        };
        let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let payload = bytes.get(HEAD..HEAD + len)?;
        Some(Self {
            kind,
            flags,
            payload,
        })
    }
}

/// One side of a connection.
struct Peer {
    /// What is to be written.
    out: Vec<u8>,
    asked: u32,
    /// Header fields (RFC 7541) that refer to nothing but the static table.
    fields: Vec<u8>,
    taken: u32,
}

impl Peer {
    fn new(path: &str) -> Self {
        // :method GET, :scheme http, and :path and :authority as literals without indexing.
        let mut fields = vec![0x82, 0x86];
        for (name, value) in [(0x04, path), (0x01, "bench")] {
            fields.extend([name, value.len() as u8]);
            fields.extend(value.as_bytes());
        }
        let mut peer = Self {
            out: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            asked: 0,
            fields,
            taken: 0,
        };
        // SETTINGS_INITIAL_WINDOW_SIZE.
        let [a, b, c, d] = WINDOW_MAX.to_be_bytes();
        peer.say(SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
        let more = WINDOW_MAX - WINDOW_FIRST;
        peer.say(WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        peer
    }

    fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        self.out.extend(&len[1..]);
        self.out.extend([kind, flags]);
        self.out.extend(stream.to_be_bytes());
        self.out.extend(payload);
    }

    fn ask(&mut self) {
        let stream = 2 * self.asked + 1;
        self.asked += 1;
        let fields = std::mem::take(&mut self.fields);
        self.say(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
        self.fields = fields;
    }

    /// Returns whether the frame ends an answer.
    fn takes(&mut self, frame: &Frame<'_>) -> io::Result<bool> {
        match frame.kind {
            // `:status: 200` stands in the static table.
            HEADERS if frame.payload.first() != Some(&0x88) => {
                Err(unexpected(format_args!("{:x?}", frame.payload)))
            }
            RST_STREAM | GOAWAY => Err(unexpected(format_args!("{:x?}", frame.payload))),
            HEADERS => Ok(frame.flags & END_STREAM != 0),
            DATA => {
                self.taken += u32::try_from(frame.payload.len()).unwrap_or(0);
                if self.taken > WINDOW_STEP {
                    let taken = std::mem::take(&mut self.taken);
                    self.say(WINDOW_UPDATE, 0, 0, &taken.to_be_bytes());
                }
                Ok(frame.flags & END_STREAM != 0)
            }
            SETTINGS | PING if frame.flags & ACK == 0 => {
                let echoed = if frame.kind == PING {
                    frame.payload
                } else {
                    &[]
                };
                self.say(frame.kind, ACK, 0, echoed);
                Ok(false)
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_frame_is_none_and_the_last_data_ends_an_answer() {
        let mut peer = Peer::new(Body::Small.path());
        let mut bytes = vec![0, 0, 5, DATA, END_STREAM, 0, 0, 0, 1];
        bytes.extend(b"hell");
        assert!(Frame::at(&bytes).is_none());
        bytes.push(b'o');
        let frame = Frame::at(&bytes).expect("whole");
        assert!(peer.takes(&frame).expect("well"));
        let refused = [0, 0, 1, HEADERS, END_STREAM, 0, 0, 0, 1, 0x8d];
        let refused = Frame::at(&refused).expect("whole");
        assert!(peer.takes(&refused).is_err());
    }
}
