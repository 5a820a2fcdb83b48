//! A keep-alive connection of the generator: raw HTTP/1, one request at a time.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    fd::AsFd,
    net::{AddressFamily, SocketFlags, SocketType, sockopt},
};

/// More than any answer here has: a server that says more is not the one under test.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// What became of an answer so far.
pub(super) enum Progress {
    /// There is more to come.
    Partial,
    /// It is whole.
    Whole {
        status: u16,
        /// Whether the connection can carry another request.
        keep: bool,
    },
    /// The connection is of no more use.
    Broken,
}

pub(super) struct Connection {
    stream: TcpStream,
    /// What is not written yet.
    unsent: Option<&'static [u8]>,
    answer: Vec<u8>,
}

impl Connection {
    /// Begins to connect; whatever is sent goes out as soon as it is up.
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let socket: OwnedFd = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        // A client that gives up resets: tens of thousands of connections that linger in
        // TIME_WAIT would use up the ports.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            stream: TcpStream::from(socket),
            unsent: None,
            answer: Vec::new(),
        })
    }

    pub(super) fn send(&mut self, request: &'static [u8]) -> Progress {
        self.unsent = Some(request);
        self.answer.clear();
        self.write()
    }

    /// Writes what is left, when the socket says it can.
    pub(super) fn write(&mut self) -> Progress {
        let Some(request) = self.unsent else {
            return Progress::Partial;
        };
        match self.stream.write(request) {
            Ok(len) => {
                self.unsent = Some(&request[len..]).filter(|rest| !rest.is_empty());
                Progress::Partial
            }
            // Still connecting, or full: the poller says when to go on.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                Progress::Partial
            }
            Err(_) => Progress::Broken,
        }
    }

    /// Reads until the answer is whole or nothing more is there.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Progress {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Progress::Broken,
                Ok(len) => {
                    self.answer.extend_from_slice(&scratch[..len]);
                    if self.answer.len() > ANSWER_LEN_MAX {
                        return Progress::Broken;
                    }
                    match parse(&self.answer) {
                        Progress::Partial => {}
                        done => return done,
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Partial,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Broken,
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Reads an answer whose length its head says, which is how hyper writes all of ours.
fn parse(answer: &[u8]) -> Progress {
    let Some(head_len) = answer.windows(4).position(|it| it == b"\r\n\r\n") else {
        return Progress::Partial;
    };
    let head = String::from_utf8_lossy(&answer[..head_len]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let (mut body_len, mut keep) = (None, true);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            body_len = value.parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close");
        }
    }
    let (Some(status), Some(body_len)) = (status, body_len) else {
        return Progress::Broken;
    };
    if answer.len() < head_len + 4 + body_len {
        return Progress::Partial;
    }
    Progress::Whole { status, keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(answer: &str) -> Option<(u16, bool)> {
        match parse(answer.as_bytes()) {
            Progress::Whole { status, keep } => Some((status, keep)),
            Progress::Partial => None,
            Progress::Broken => Some((0, false)),
        }
    }

    #[test]
    fn an_answer_is_whole_when_its_body_is_there() {
        let whole = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(status(whole), Some((503, true)));
        assert_eq!(status(&whole[..whole.len() - 1]), None);
        assert_eq!(status(&whole[..20]), None);
        let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(status(closing), Some((200, false)));
        assert_eq!(status("HTTP/1.1 200 OK\r\n\r\n"), Some((0, false)));
    }
}
