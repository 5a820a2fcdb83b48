//! Ports, and a listener that says nothing.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

/// Returns a port of the loopback that nobody listens on.
///
/// Somebody else may take it before it is used; the servers of this crate then try another.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A listener that takes every connection and never answers.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    /// The connections taken; `None` when it is over.
    taken: Arc<Mutex<Option<Vec<TcpStream>>>>,
    thread: Option<JoinHandle<()>>,
}

impl BlackHole {
    /// Starts to listen.
    ///
    /// # Panics
    /// If the loopback has no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let taken = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = Arc::clone(&taken);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                match shared.lock().expect("nobody panics with it").as_mut() {
                    Some(streams) => streams.push(stream),
                    None => return,
                }
            }
        });
        Self {
            address,
            taken,
            thread: Some(thread),
        }
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many connections it has taken.
    ///
    /// # Panics
    /// If the listening thread has panicked.
    #[must_use]
    pub fn taken(&self) -> usize {
        let taken = self.taken.lock().expect("nobody panics with it");
        taken.as_ref().map_or(0, Vec::len)
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        if let Ok(mut taken) = self.taken.lock() {
            *taken = None;
        }
        // Wakes the thread out of its accept.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
