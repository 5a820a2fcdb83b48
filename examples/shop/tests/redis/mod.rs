//! A server that speaks as much of Redis as a cache needs, so that the shop's tests need no
//! server of the machine's.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

type Keys = Arc<Mutex<HashMap<String, String>>>;

/// Longest word of a command that is read.
const WORD_LEN_MAX: usize = 1024 * 1024;

pub(crate) struct FakeRedis {
    address: SocketAddr,
    keys: Keys,
    serving: Option<JoinHandle<()>>,
}

impl FakeRedis {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let keys = Keys::default();
        let serving = Some(tokio::spawn(serve(listener, Arc::clone(&keys))));
        Self {
            address,
            keys,
            serving,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Forgets all keys, as if they had expired.
    pub(crate) fn forget(&self) {
        self.keys.lock().expect("no panic").clear();
    }

    /// Closes every connection, and takes none.
    pub(crate) async fn stop(&mut self) {
        let serving = self.serving.take().expect("it runs");
        serving.abort();
        let _ = serving.await;
    }

    pub(crate) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await;
        let listener = listener.expect("nobody took the port");
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.keys))));
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, keys: Keys) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(speak(stream, Arc::clone(&keys)));
    }
}

async fn speak(stream: TcpStream, keys: Keys) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let words = command(&mut stream).await?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let answer = match words.as_slice() {
            ["GET", key] => {
                let keys = keys.lock().expect("no panic");
                keys.get(*key).map_or("$-1\r\n".to_owned(), |it| bulk(it))
            }
            ["SET", key, value, ..] => {
                let mut keys = keys.lock().expect("no panic");
                keys.insert((*key).to_owned(), (*value).to_owned());
                "+OK\r\n".to_owned()
            }
            ["PING"] => "+PONG\r\n".to_owned(),
            ["PING", text] => bulk(text),
            ["INFO", ..] => bulk("loading:0\r\nrole:master"),
            _ => "+OK\r\n".to_owned(),
        };
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}

/// Reads one command: an array of texts, each with its length in front.
async fn command(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..length(stream, '*').await? {
        let mut word = vec![0; length(stream, '$').await?];
        stream.read_exact(&mut word).await?;
        stream.read_exact(&mut [0; 2]).await?;
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(words)
}

async fn length(stream: &mut BufReader<TcpStream>, kind: char) -> io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let number = line
        .trim()
        .strip_prefix(kind)
        .and_then(|it| it.parse().ok());
    let fits = number.filter(|it| *it <= WORD_LEN_MAX);
    fits.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}
