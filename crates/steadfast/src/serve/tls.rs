//! TLS in front of the application: rustls, with certificates that change while it serves.
//!
//! ```text
//! accept ─▶ task of the connection ─▶ handshake ─▶ h2 or http/1.1, by ALPN and first bytes
//!                                        │ within the bounds of a first request; a drain
//!                                        └ waits for it as for one
//! ```
//!
//! The listener is asked for its sockets as one without TLS is, so its errors are seen and
//! its queue is emptied before it is closed; no handshake is done where connections are
//! accepted. A proxy that ends TLS in front needs none of this.
//!
//! Certificates that come from files are read again when the files change, and whoever has
//! a store of their own hands new ones over with [`Tls::replace`]. Connections that are open
//! keep what they shook hands with. What cannot be used (half a file, a key of another
//! certificate) is said in the log, and the old one stays.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::handshake::Handshake;

/// How often files are looked at. Certificates change weeks before they run out.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What is spoken over TLS, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What a listener shakes hands with. Clones share: what one replaces, all use.
///
/// ```no_run
/// # async fn run(guard: steadfast::Guard, app: axum::Router) -> std::io::Result<()> {
/// use steadfast::Tls;
///
/// let tls = Tls::from_files("/tls/tls.crt", "/tls/tls.key")?;
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:8443").await?;
/// let served = guard.server().listen_tls(listener, &tls, guard.protect(app));
/// println!("{}", served.run().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// `None` where the configuration has certificates of its own.
    current: Option<Arc<Current>>,
    files: Option<Arc<Files>>,
    look_every: Duration,
}

impl Tls {
    /// Reads a chain of certificates and its key from PEM files, and reads them again when
    /// they change. TLS 1.2 and 1.3, HTTP/2 and HTTP/1.
    ///
    /// # Errors
    /// A file cannot be read, or they are no certificate and its key.
    pub fn from_files(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> io::Result<Self> {
        let files = Files {
            certificates: certificates.into(),
            key: key.into(),
            seen: Mutex::default(),
        };
        let stamp = files.stamp()?;
        let made = Self::from_pem(&read(&files.certificates)?, &read(&files.key)?)?;
        files.seen().loaded = Some(stamp);
        Ok(Self {
            files: Some(Arc::new(files)),
            ..made
        })
    }

    /// Takes a chain of certificates and its key as PEM. [`Tls::replace`] changes them.
    ///
    /// # Errors
    /// They are no certificate and its key.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> io::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current {
            pair: ArcSwap::from_pointee(pair(certificates, key, &provider)?),
            provider: Arc::clone(&provider),
        });
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&current) as _;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        Ok(Self {
            current: Some(current),
            ..Self::from_config(config)
        })
    }

    /// Takes a configuration of your own: client certificates, names, another resolver. If it
    /// names no protocols (ALPN), HTTP/2 and HTTP/1 are offered.
    #[must_use]
    pub fn from_config(mut config: ServerConfig) -> Self {
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        }
        Self {
            config: Arc::new(config),
            current: None,
            files: None,
            look_every: LOOK_EVERY,
        }
    }

    /// Sets how often files are looked at. Default 10 s.
    #[must_use]
    pub const fn look_every(mut self, length: Duration) -> Self {
        self.look_every = length;
        self
    }

    /// Replaces certificates and key by others, as PEM, for all handshakes from now on.
    ///
    /// # Errors
    /// They are no certificate and its key, or the configuration has its own; the old ones
    /// stay.
    pub fn replace(&self, certificates: &[u8], key: &[u8]) -> io::Result<()> {
        let Some(current) = &self.current else {
            return Err(io::Error::other(OWN_CONFIG));
        };
        let pair = pair(certificates, key, &current.provider)?;
        current.pair.store(Arc::new(pair));
        Ok(())
    }

    /// Reads the files again if they have changed. Returns whether they had. A server does
    /// this by itself.
    ///
    /// # Errors
    /// A file cannot be read, or they are no certificate and its key; the old ones stay.
    pub fn reload(&self) -> io::Result<bool> {
        let Some(files) = &self.files else {
            return Ok(false);
        };
        // The stamp first: what is written after it has another.
        let stamp = files.stamp()?;
        if files.seen().loaded == Some(stamp) {
            return Ok(false);
        }
        self.replace(&read(&files.certificates)?, &read(&files.key)?)?;
        files.seen().loaded = Some(stamp);
        Ok(true)
    }

    /// Follows the files, for ever.
    pub(super) async fn follow(&self) {
        let Some(files) = &self.files else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(self.look_every).await;
            let this = self.clone();
            // A disk may be slow, and the runtime must not wait for it.
            let Ok(reloaded) = tokio::task::spawn_blocking(move || this.reload()).await else {
                continue;
            };
            files.tell(&reloaded);
        }
    }

    /// Shakes hands over a socket, once somebody reads.
    pub(super) fn wrap<I>(&self, socket: I) -> Handshake<TlsStream<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Handshake::new(TlsAcceptor::from(Arc::clone(&self.config)).accept(socket))
    }
}

const OWN_CONFIG: &str = "the TLS configuration has certificates of its own";

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .field("look_every", &self.look_every)
            .finish_non_exhaustive()
    }
}

/// What the next handshake gets.
struct Current {
    pair: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair.load_full())
    }
}

/// Makes sure that a chain and a key belong together.
fn pair(certificates: &[u8], key: &[u8], provider: &CryptoProvider) -> io::Result<CertifiedKey> {
    let wrong = |what: &str, error: &dyn fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {error}"))
    };
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong("certificates", &error))?;
    if chain.is_empty() {
        return Err(wrong("certificates", &"found none"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong("key", &error))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| wrong("certificates and key", &error))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[derive(Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    loaded: Option<Stamp>,
    /// What was wrong with them the last time, which is said once.
    fault: Option<String>,
}

/// When each of the two was written, and how long it is.
type Stamp = [(SystemTime, u64); 2];

impl Files {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let of = |path: &Path| {
            let found = std::fs::metadata(path).and_then(|it| Ok((it.modified()?, it.len())));
            found.map_err(|error| named(path, &error))
        };
        Ok([of(&self.certificates)?, of(&self.key)?])
    }

    /// Says what has become of the last look at them.
    fn tell(&self, reloaded: &io::Result<bool>) {
        let path = self.certificates.display();
        let fault = reloaded.as_ref().err().map(ToString::to_string);
        let mut seen = self.seen();
        match (&fault, reloaded) {
            (Some(fault), _) if seen.fault.as_ref() != Some(fault) => {
                tracing::error!(target: crate::log::SERVE, %path, %fault, "certificates not reloaded; the old ones stay");
            }
            (_, Ok(true)) => {
                tracing::info!(target: crate::log::SERVE, %path, "certificates reloaded")
            }
            _ => {}
        }
        seen.fault = fault;
    }
}

const _: fn() = || {
    fn shareable<T: Send + Sync>() {}
    shareable::<Tls>();
};
