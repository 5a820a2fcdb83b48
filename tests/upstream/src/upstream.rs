//! A server that somebody calls, with moods.
//!
//! It speaks just enough HTTP/1.1: it reads a head, waits or not, and answers, resets or
//! keeps silent. It counts the requests that reached it, because "how many did the sick one
//! get" is what a breaker is for.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::Notify,
};

/// How it treats the requests that reach it from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers 200.
    Well,
    /// Answers 200 after this time.
    Slow(Duration),
    /// Reads the request and says nothing, for as long as the caller stays.
    Hanging,
    /// Resets the connection once it has read the request.
    Resetting,
    /// Answers 503 and asks to be left alone for so many seconds.
    Busy {
        /// The value of `retry-after`.
        retry_after: u32,
    },
}

/// The server, which ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    hang_up: Arc<Notify>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    reached: usize,
    running: usize,
    connections: usize,
}

impl Upstream {
    /// Starts, well.
    ///
    /// # Panics
    /// If the loopback has no free port.
    #[must_use]
    pub fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("the loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Well,
            reached: 0,
            running: 0,
            connections: 0,
        }));
        let hang_up = Arc::new(Notify::new());
        runtime.spawn(accept(listener, Arc::clone(&state), Arc::clone(&hang_up)));
        Self {
            address,
            state,
            hang_up,
            runtime: Some(runtime),
        }
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes how it treats requests. One that it keeps waiting is not looked at again.
    pub fn set(&self, mood: Mood) {
        change(&self.state, |state| state.mood = mood);
    }

    /// Ends every request that it keeps waiting by closing its connection.
    pub fn hang_up(&self) {
        self.hang_up.notify_waiters();
    }

    /// Returns how many requests have reached it.
    #[must_use]
    pub fn reached(&self) -> usize {
        change(&self.state, |state| state.reached)
    }

    /// Returns how many requests it has not answered yet.
    #[must_use]
    pub fn running(&self) -> usize {
        change(&self.state, |state| state.running)
    }

    /// Returns how many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        change(&self.state, |state| state.connections)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn change<T>(state: &Mutex<State>, change: impl FnOnce(&mut State) -> T) -> T {
    change(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>, hang_up: Arc<Notify>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open for a moment.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (state, hang_up) = (Arc::clone(&state), Arc::clone(&hang_up));
        tokio::spawn(async move {
            let _open = Counted::new(&state, |state| &mut state.connections);
            // The caller sees what went wrong; nobody here needs to.
            let _ = serve(stream, &state, &hang_up).await;
        });
    }
}

/// Answers one request after the other. Every end is a reset, so that thousands of
/// cancelled calls leave no port in TIME_WAIT.
async fn serve(mut stream: TcpStream, state: &Mutex<State>, hang_up: &Notify) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_zero_linger()?;
    while read_head(&mut stream).await? {
        // Listening before it is counted: whoever has seen the count may hang up.
        let hung_up = hang_up.notified();
        let mood = change(state, |state| {
            state.reached += 1;
            state.mood
        });
        let _running = Counted::new(state, |state| &mut state.running);
        match mood {
            Mood::Well => answer(&mut stream, OK).await?,
            Mood::Slow(time) => {
                if leaves(&mut stream, tokio::time::sleep(time)).await {
                    return Ok(());
                }
                answer(&mut stream, OK).await?;
            }
            Mood::Hanging => {
                leaves(&mut stream, hung_up).await;
                return Ok(());
            }
            Mood::Resetting => return Ok(()),
            Mood::Busy { retry_after } => {
                let text = format!(
                    "HTTP/1.1 503 Service Unavailable\r\nretry-after: {retry_after}\r\n\
                     content-length: 4\r\n\r\nbusy"
                );
                answer(&mut stream, &text).await?;
            }
        }
    }
    Ok(())
}

/// Waits, and returns whether the caller left first.
async fn leaves(stream: &mut TcpStream, wait: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = wait => false,
        // Nothing is sent before the answer, so whatever comes is an end.
        _ = stream.read_u8() => true,
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // One byte after the other: no call here has a body, and none is fast for a reason.
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 || head.len() > HEAD_MAX {
            return Ok(false);
        }
        head.push(byte[0]);
    }
    Ok(true)
}

async fn answer(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).await
}

/// One of a number, for as long as it lives.
struct Counted<'a> {
    state: &'a Mutex<State>,
    number: fn(&mut State) -> &mut usize,
}

impl<'a> Counted<'a> {
    fn new(state: &'a Mutex<State>, number: fn(&mut State) -> &mut usize) -> Self {
        change(state, |state| *number(state) += 1);
        Self { state, number }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        change(self.state, |state| *(self.number)(state) -= 1);
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npaid";
/// No head of these tests is near it.
const HEAD_MAX: usize = 8_192;
