//! A service that answers everything in one way, as a process of its own: `app-tested STATUS
//! [IDLE]`. Its first line is the address that it listens at; a connection that is idle for so many
//! milliseconds is closed.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    time::Duration,
};

fn main() -> ExitCode {
    let Some(status) = std::env::args().nth(1) else {
        return ExitCode::FAILURE;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    println!("{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(|| {
        // Whoever started it is gone when its input ends.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let idle = std::env::args().nth(2).and_then(|it| it.parse().ok());
    for stream in listener.incoming().flatten() {
        let _ = stream.set_read_timeout(idle.map(Duration::from_millis));
        let status = status.clone();
        std::thread::spawn(move || answer(stream, &status));
    }
    ExitCode::SUCCESS
}

fn answer(mut stream: TcpStream, status: &str) {
    let mut held = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        held.extend_from_slice(&chunk[..count]);
        let Some(end) = held.windows(4).position(|it| it == b"\r\n\r\n") else {
            continue;
        };
        held.drain(..end + 4);
        let body = "said by the application";
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/plain");
        let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
