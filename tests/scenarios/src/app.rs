//! The small service behind everything: it behaves as its first argument says.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, Signal, kill_process, setrlimit};

use crate::ROLE;

/// A service of its own process.
#[derive(Debug)]
pub(crate) struct App {
    child: Child,
    pub(crate) port: u16,
}

impl App {
    /// Starts one: `ok`, `busy`, `burning`, `login`, `elsewhere`, `deaf` or `hungry`; each takes its
    /// time for `/hold`.
    pub(crate) fn start(kind: &str) -> Self {
        Self::start_by(&[], kind, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same at an address, started by a command that becomes it.
    pub(crate) fn start_by(by: &[&str], kind: &str, addr: SocketAddr) -> Self {
        let me = std::env::current_exe().expect("this program has a path");
        let mut command = match by {
            [] => Command::new(me),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(me);
                command
            }
        };
        let mut child = command
            .args([kind, &addr.to_string()])
            .env(ROLE, "app")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut out = child.stdout.take().expect("it is piped");
        let mut line = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).is_ok_and(|got| got == 1) && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let port = String::from_utf8_lossy(&line)
            .parse()
            .expect("it says its port");
        Self { child, port }
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it where it stands.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let _ = kill_process(pid.expect("a pid is positive"), signal);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service itself; it ends with its input, so that it never outlives who started it.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, addr] = arguments.as_slice() else {
        return ExitCode::from(64);
    };
    let Ok(addr) = addr.parse::<SocketAddr>() else {
        return ExitCode::from(64);
    };
    let listener = match kind.as_str() {
        "deaf" | "hungry" => shallow(addr),
        _ => TcpListener::bind(addr).expect("the port is free"),
    };
    println!("{}", listener.local_addr().expect("it listens").port());
    let kind = kind.clone();
    thread::spawn(move || serve(&kind, &listener));
    let mut end = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut end);
    ExitCode::SUCCESS
}

/// A listener with room for two in its queue.
fn shallow(addr: SocketAddr) -> TcpListener {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &addr).expect("the port is free");
    listen(&socket, 2).expect("it can listen");
    TcpListener::from(socket)
}

fn serve(kind: &str, listener: &TcpListener) {
    match kind {
        "deaf" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "hungry" => hungry(listener),
        _ => {
            if kind == "burning" {
                for _ in 0..2 {
                    thread::spawn(|| {
                        loop {
                            std::hint::spin_loop();
                        }
                    });
                }
            }
            for stream in listener.incoming().flatten() {
                let kind = kind.to_owned();
                thread::spawn(move || answer(&kind, stream));
            }
        }
    }
}

/// Takes every connection and keeps it, until no descriptor is left.
fn hungry(listener: &TcpListener) {
    let few = Rlimit {
        current: Some(12),
        maximum: Some(12),
    };
    setrlimit(Resource::Nofile, few).expect("a limit may be lowered");
    let mut kept = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) => kept.push(stream),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn answer(kind: &str, mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or("/");
        let (status, body) = match (kind, path) {
            ("login", "/health/") => ("401 Unauthorized", "log in first\n"),
            ("busy" | "burning", _) => ("503 Service Unavailable", "please come back later\n"),
            ("elsewhere", "/shop/") => ("200 OK", "welcome\n"),
            ("elsewhere", _) => ("404 Not Found", "no such page\n"),
            (_, "/hold") => {
                thread::sleep(Duration::from_secs(20));
                ("200 OK", "at last\n")
            }
            _ => ("200 OK", "welcome\n"),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nserver: app\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
