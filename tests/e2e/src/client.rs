//! An HTTP/1 client without any cleverness: it sends what it is given and keeps every byte
//! of the answer.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::wait::PATIENCE;

/// One connection, kept alive as long as the other side keeps it.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer: its status, and the bytes of its head and its body as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body, without the chunks' frames.
    pub body: String,
}

impl Answer {
    /// Returns a header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }

    /// Returns everything that was read.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}\n{}", self.head, self.body)
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends one request, without a body, and reads its answer.
    ///
    /// # Errors
    /// The connection breaks, or what comes is not HTTP.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Answer> {
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("content-length: 0\r\n\r\n");
        self.send_raw(&text)
    }

    /// Sends these bytes and reads one answer.
    ///
    /// # Errors
    /// The connection breaks, or what comes is not HTTP.
    pub fn send_raw(&mut self, text: &str) -> io::Result<Answer> {
        self.stream.get_mut().write_all(text.as_bytes())?;
        let head = self.read_head()?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| strange(&head))?;
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let body = if text.starts_with("HEAD") || matches!(status, 204 | 304) {
            Vec::new()
        } else {
            self.read_body(&answer)?
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }

    fn read_head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                let fault = format!("the connection ended after {head:?}");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, fault));
            }
            if line == "\r\n" {
                return Ok(head);
            }
            head.push_str(&line);
        }
    }

    fn read_body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| strange(length))?;
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            while self.read_chunk(&mut body)? {}
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    fn read_chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(|_| strange(&line))?;
        let start = body.len();
        body.resize(start + length, 0);
        self.stream.read_exact(&mut body[start..])?;
        self.stream.read_line(&mut String::new())?;
        Ok(length != 0)
    }
}

fn strange(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {text:?}"))
}

/// Sends one request on a connection of its own.
///
/// # Panics
/// If no answer comes.
#[must_use]
#[track_caller]
pub fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut client = Client::connect(address).expect("somebody listens");
    let answer = client.send(method, target, headers);
    answer.unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

/// Gets something on a connection of its own.
///
/// # Panics
/// If no answer comes.
#[must_use]
#[track_caller]
pub fn get(address: SocketAddr, target: &str) -> Answer {
    send(address, "GET", target, &[])
}
