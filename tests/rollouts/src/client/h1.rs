//! HTTP/1.1 on a socket, without a layer that could repeat anything.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{ANSWER_MAX, Answer, Fault, Method};
use crate::subject::{ID, INSTANCE, LEAVING};

/// What a POST carries.
pub const BODY: &str = "one small order of nothing in particular";

/// Most bytes of a head or of a chunk's size line that are read.
const HEAD_MAX: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What was read beyond the last answer.
    ahead: Vec<u8>,
    /// How many requests it has carried.
    pub used: u32,
}

/// Writes a request's bytes.
#[must_use]
pub fn request(method: Method, path: &str, id: &str) -> Vec<u8> {
    let (name, body) = (
        method.name(),
        if method == Method::Post { BODY } else { "" },
    );
    let head = format!("{name} {path} HTTP/1.1\r\nhost: rollouts.test\r\n{ID}: {id}\r\n");
    match method {
        Method::Get => format!("{head}\r\n"),
        Method::Post => format!("{head}content-length: {}\r\n\r\n{body}", body.len()),
    }
    .into_bytes()
}

/// Gets something on a connection of its own.
///
/// # Errors
/// There is no answer.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, Fault> {
    let mut connection = Connection::open(address).await?;
    connection.send(&request(Method::Get, path, "probe")).await
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Fault::Refused`], whatever it was: nothing was sent.
    pub async fn open(address: SocketAddr) -> Result<Self, Fault> {
        let opened = timeout(ANSWER_MAX, TcpStream::connect(address)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = opened.map_err(Fault::Refused)?;
        stream.set_nodelay(true).map_err(Fault::Refused)?;
        Ok(Self {
            stream,
            ahead: Vec::new(),
            used: 0,
        })
    }

    /// Returns the socket.
    pub const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Whether the other side has ended it, as far as can be seen without waiting. A client
    /// that reuses connections looks before it writes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let mut byte = [0];
        match self.stream.try_read(&mut byte) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            // The end, or bytes that nobody asked for.
            Ok(_) => true,
        }
    }

    /// Sends bytes and reads one answer.
    ///
    /// # Errors
    /// There is no answer, or not all of it.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer, Fault> {
        self.used += 1;
        let exchange = async {
            self.stream.write_all(request).await.map_err(Fault::Lost)?;
            self.answer().await
        };
        let done = timeout(ANSWER_MAX, exchange).await;
        done.unwrap_or_else(|_| Err(Fault::Lost(io::ErrorKind::TimedOut.into())))
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// It does not come, or not all of it.
    pub async fn answer(&mut self) -> Result<Answer, Fault> {
        let head = match self.until(b"\r\n\r\n").await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.ahead.is_empty() => {
                return Err(Fault::Empty);
            }
            head => head.map_err(Fault::Lost)?,
        };
        self.rest(&head).await.map_err(Fault::Lost)
    }

    async fn rest(&mut self, head: &str) -> io::Result<Answer> {
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
            Some(value.trim())
        };
        let close = field("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        let mut answer = Answer {
            status: status.ok_or_else(|| strange(head))?,
            instance: field(INSTANCE).map(str::to_owned),
            leaving: field(LEAVING).is_some(),
            close,
            body: Vec::new(),
        };
        if field("transfer-encoding").is_some() {
            loop {
                let line = self.until(b"\r\n").await?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(|_| strange(&line))?;
                let mut chunk = self.exactly(size + 2).await?;
                chunk.truncate(size);
                if size == 0 {
                    return Ok(answer);
                }
                answer.body.append(&mut chunk);
            }
        }
        if let Some(length) = field("content-length") {
            let length = length.parse().map_err(|_| strange(length))?;
            answer.body = self.exactly(length).await?;
            return Ok(answer);
        }
        answer.close = true;
        while self.more().await? {}
        answer.body = std::mem::take(&mut self.ahead);
        Ok(answer)
    }

    /// Reads up to and with a mark.
    async fn until(&mut self, mark: &[u8]) -> io::Result<String> {
        loop {
            let found = self.ahead.windows(mark.len()).position(|it| it == mark);
            if let Some(at) = found {
                let text: Vec<u8> = self.ahead.drain(..at + mark.len()).collect();
                return String::from_utf8(text).map_err(|_| strange("bytes that are no text"));
            }
            if self.ahead.len() > HEAD_MAX {
                return Err(strange("a head without an end"));
            }
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }

    /// Reads what is there; false at the end.
    async fn more(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.ahead).await? > 0)
    }
}

fn strange(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {text:?}"))
}
