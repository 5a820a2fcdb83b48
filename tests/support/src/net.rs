//! Ports, and a listener that says nothing.

use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

/// Ports below this one belong to services that a machine may have.
const PORT_MIN: u16 = 10_000;

/// Ports that are drawn before the kernel is asked for one.
const DRAWS_MAX: usize = 100;

/// Returns a port of the loopback that nobody listens on.
///
/// It is none of those that the kernel gives to whoever connects, or binds without naming one,
/// unless it gives all of them: a server that is stopped and started again finds it free, and
/// who is to find it closed does. Another caller may get the same one before it is used, which
/// is unlikely, since they are drawn at random; the servers of this crate then try another.
///
/// # Panics
/// The loopback has no free port.
#[must_use]
pub fn free_port() -> u16 {
    let room = ephemeral().saturating_sub(PORT_MIN);
    let drawn = (0..DRAWS_MAX).map(|_| PORT_MIN + random() % room.max(1));
    // Zero: whichever the kernel gives.
    let mut ports = drawn.filter(|_| room > 0).chain([0]);
    let bound = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let address = bound.and_then(|listener| listener.local_addr().ok());
    address.expect("the loopback has a free port").port()
}

/// The first of the ports that the kernel gives away: its default, if it does not say.
fn ephemeral() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next();
    first.and_then(|it| it.parse().ok()).unwrap_or(32_768)
}

/// A number that differs from process to process and from call to call.
fn random() -> u16 {
    let [first, second, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    u16::from_ne_bytes([first, second])
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
