//! A server that says one thing to everybody.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
};

/// The server; it lasts as long as the test's process.
#[derive(Debug)]
pub(crate) struct Scripted(SocketAddr);

impl Scripted {
    /// Says these words and then nothing.
    pub(crate) fn start(words: &'static [u8]) -> Self {
        Self::run(words, 1)
    }

    /// Says these words for as long as somebody reads.
    pub(crate) fn endless(words: &'static [u8]) -> Self {
        Self::run(words, usize::MAX)
    }

    fn run(words: &'static [u8], times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for mut stream in listener.incoming().flatten() {
                if times == 1 {
                    let _ = stream.write_all(words);
                    // Open, so that what comes after is silence.
                    held.push(stream);
                    continue;
                }
                std::thread::spawn(move || {
                    for _ in 0..times {
                        if stream.write_all(words).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self(address)
    }

    pub(crate) fn place(&self) -> String {
        self.0.to_string()
    }
}
