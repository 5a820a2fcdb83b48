//! Where connections come from, as the accept loop sees it.
//!
//! With axum it is whatever axum can listen at. Without axum these are tokio's two listeners,
//! so that a service of another framework need not build axum for the name of a trait.

use std::{future::Future, io};

use tokio::io::{AsyncRead, AsyncWrite};

/// Where a guard can serve: tokio's `TcpListener` and `UnixListener`, and with the feature
/// `axum` whatever implements `axum::serve::Listener`.
///
/// Sealed: a listener of your own implements axum's trait, and is then one of these.
pub trait Listener: sealed::Sealed + Send + 'static {
    /// What is read from and written to.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Who is at the other end.
    type Addr: Send;

    /// Waits for the next connection. Errors are waited out inside.
    ///
    /// # Cancel safety
    /// Dropping it loses no connection.
    fn accept(&mut self) -> impl Future<Output = (Self::Io, Self::Addr)> + Send;

    /// Returns where it listens.
    ///
    /// # Errors
    /// The system does not say.
    fn local_addr(&self) -> io::Result<Self::Addr>;
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals the trait above")]
    pub trait Sealed {}

    #[cfg(feature = "axum")]
    impl<L: axum::serve::Listener> Sealed for L {}
}

#[cfg(feature = "axum")]
impl<L: axum::serve::Listener> Listener for L {
    type Io = L::Io;
    type Addr = L::Addr;

    fn accept(&mut self) -> impl Future<Output = (Self::Io, Self::Addr)> + Send {
        axum::serve::Listener::accept(self)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        axum::serve::Listener::local_addr(self)
    }
}

#[cfg(not(feature = "axum"))]
mod of_tokio {
    use std::{future::Future, io, net::SocketAddr, time::Duration};

    use tokio::net::{TcpListener, TcpStream};

    use super::{Listener, sealed::Sealed};

    /// How long an error is waited out: the accept loop asks the socket itself and backs off
    /// by what has happened, so whoever comes here only must not spin.
    const PAUSE: Duration = Duration::from_secs(1);

    async fn patiently<T, F: Future<Output = io::Result<T>>>(accept: impl Fn() -> F) -> T {
        loop {
            match accept().await {
                Ok(accepted) => return accepted,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    impl Sealed for TcpListener {}

    impl Listener for TcpListener {
        type Io = TcpStream;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (TcpStream, SocketAddr) {
            patiently(|| Self::accept(self)).await
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Self::local_addr(self)
        }
    }

    #[cfg(unix)]
    impl Sealed for tokio::net::UnixListener {}

    #[cfg(unix)]
    impl Listener for tokio::net::UnixListener {
        type Io = tokio::net::UnixStream;
        type Addr = tokio::net::unix::SocketAddr;

        async fn accept(&mut self) -> (Self::Io, Self::Addr) {
            patiently(|| Self::accept(self)).await
        }

        fn local_addr(&self) -> io::Result<Self::Addr> {
            Self::local_addr(self)
        }
    }
}
