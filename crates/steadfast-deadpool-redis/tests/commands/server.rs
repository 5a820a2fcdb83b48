//! A server that speaks RESP and says what a script tells it to say.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    task::{JoinHandle, JoinSet},
};

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// What an ordinary server says.
    Usual,
    /// This line.
    Line(&'static str),
    /// These lines.
    Text(String),
    /// What an ordinary server says, later.
    Late(Duration),
    /// Nothing.
    Silence,
    /// Nothing, and the connection ends.
    Close,
}

/// A session, counted from 0, and the words of a command in upper case.
type Script = dyn Fn(usize, &[&str]) -> Reply + Send + Sync;

/// The server; it ends when this is dropped.
pub(crate) struct Server {
    port: u16,
    taken: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(
        script: impl Fn(usize, &[&str]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, Arc::clone(&taken), Arc::new(script)));
        Self { port, taken, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// How many sessions there have been.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, taken: Arc<AtomicUsize>, script: Arc<Script>) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = taken.fetch_add(1, SeqCst);
        let script = Arc::clone(&script);
        sessions.spawn(async move {
            let _ = serve(stream, number, &*script).await;
        });
    }
}

async fn serve(stream: TcpStream, number: usize, script: &Script) -> std::io::Result<()> {
    match script(number, &["CONNECT"]) {
        Reply::Close => return Ok(()),
        // A server that is full does not read before it closes.
        Reply::Line(line) => {
            let mut stream = stream;
            return stream.write_all(format!("{line}\r\n").as_bytes()).await;
        }
        _ => {}
    }
    // Two answers in a row would wait for the acknowledgement of the first.
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let words = command(&mut read).await?;
        let upper: Vec<String> = words.iter().map(|word| word.to_uppercase()).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        let said = match script(number, &upper) {
            Reply::Usual => usual(&upper),
            Reply::Line(line) => format!("{line}\r\n"),
            Reply::Text(text) => text,
            Reply::Late(time) => {
                tokio::time::sleep(time).await;
                usual(&upper)
            }
            Reply::Silence => continue,
            Reply::Close => return Ok(()),
        };
        write.write_all(said.as_bytes()).await?;
    }
}

fn usual(words: &[&str]) -> String {
    match words {
        ["PING", text] => format!("${}\r\n{text}\r\n", text.len()),
        ["PING"] => "+PONG\r\n".to_owned(),
        ["GET", ..] => "$1\r\n1\r\n".to_owned(),
        ["ROLE"] => role("master"),
        _ => "+OK\r\n".to_owned(),
    }
}

/// What `ROLE` is answered with.
pub(crate) fn role(word: &str) -> String {
    format!("*1\r\n${}\r\n{word}\r\n", word.len())
}

async fn command(read: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Vec<String>> {
    let count = number(read).await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(read).await? + 2];
        read.read_exact(&mut word).await?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(words)
}

/// Reads `*3` or `$12`.
async fn number(read: &mut BufReader<OwnedReadHalf>) -> std::io::Result<usize> {
    let mut line = String::new();
    if read.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim()[1..].parse().unwrap())
}
