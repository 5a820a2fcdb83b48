//! Clients of the server: many at once, each over a connection that it keeps.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::clock;

/// Connections of an overload.
const CONNECTIONS: u32 = 16;

/// Longest wait for an answer: those that are blocked wait as long as they are.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Requests that run. Each client counts what it was answered: in all, and with 503.
pub(super) struct Load(Vec<JoinHandle<(u64, u64)>>);

impl Load {
    /// Sends so many requests a second for so long. Each takes [`super::server::WORK`].
    pub(super) fn start(server: SocketAddr, at_once: u32, length: Duration) -> Self {
        let per_sec = f64::from(at_once) / super::server::WORK.as_secs_f64();
        let pause = Duration::from_secs_f64(f64::from(CONNECTIONS) / per_sec);
        let client = move || client(server, pause, length).unwrap_or_default();
        Self((0..CONNECTIONS).map(|_| thread::spawn(client)).collect())
    }

    /// Has every worker blocked.
    pub(super) fn block(server: SocketAddr) -> Self {
        let client = move || {
            let answered = ask(server, "/block", "*/*").is_ok();
            (u64::from(answered), 0)
        };
        Self(vec![thread::spawn(client)])
    }

    /// Waits for the last answer, and returns how many there were, and how many said 503.
    pub(super) fn end(self) -> (u64, u64) {
        let each = self.0.into_iter().filter_map(|client| client.join().ok());
        each.fold((0, 0), |(all, refused), (its, its_refused)| {
            (all + its, refused + its_refused)
        })
    }
}

/// Asks over one connection, at the moments that are due; what comes late is sent at once.
fn client(server: SocketAddr, pause: Duration, length: Duration) -> io::Result<(u64, u64)> {
    let (_wakes, sleep) = mpsc::channel::<()>();
    let mut connection = BufReader::new(connect(server)?);
    let (mut all, mut refused) = (0, 0);
    let began = clock::now();
    let mut due = began;
    while clock::now().saturating_duration_since(began) < length {
        let wait = due.saturating_duration_since(clock::now());
        if !wait.is_zero() && sleep.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
            break;
        }
        due += pause;
        connection
            .get_mut()
            .write_all(b"GET /work HTTP/1.1\r\nhost: bench\r\n\r\n")?;
        let status = read_answer(&mut connection)?;
        all += 1;
        refused += u64::from(status == 503);
    }
    Ok((all, refused))
}

/// Reads an answer with a length, and returns its status.
fn read_answer(connection: &mut BufReader<TcpStream>) -> io::Result<u16> {
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest
                .split(' ')
                .next()
                .and_then(|it| it.parse().ok())
                .unwrap_or(0);
        }
        let header = line.split_once(':');
        if let Some((_, value)) = header.filter(|it| it.0.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    io::copy(&mut connection.take(length), &mut io::sink())?;
    Ok(status)
}

/// Asks once, over a connection of its own, and returns the whole answer.
pub(super) fn ask(server: SocketAddr, path: &str, accept: &str) -> io::Result<String> {
    let mut connection = connect(server)?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(server)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(connection)
}
