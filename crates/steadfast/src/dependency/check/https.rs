//! TLS beneath the HTTP check: whom it trusts, and what a failed handshake says.
//!
//! The roots are those of the host, as its other clients have them, and whatever a house adds
//! for an authority of its own. No session is taken up again, because a server that resumes
//! one shows no certificate: a check that passed that way would go on passing after the
//! certificate has run out, while every new client fails.

use std::{
    error::Error as StdError,
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use steadfast_core::{CheckOutcome, FailureClass};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::duration::spoken;

/// Speaks TLS to one host.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    name: ServerName<'static>,
    roots: Arc<RootCertStore>,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Trusts the host's roots. `None` if nobody can have a certificate for such a name.
    pub(super) fn to(host: &str) -> Option<Self> {
        // A URI writes IPv6 in brackets, and a certificate does not.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).ok()?;
        let roots = Arc::clone(host_roots());
        Some(Self {
            config: config(&roots),
            name,
            roots,
        })
    }

    /// Trusts these authorities too.
    pub(super) fn trusting(self, pem: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::clone(&self.roots);
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let added = certificate
                .map_err(|error| error.to_string())
                .and_then(|it| roots.add(it).map_err(|error| error.to_string()));
            added.map_err(|error| format!("certificate {}: {error}", found + 1))?;
            found += 1;
        }
        if found == 0 {
            return Err("no certificate in PEM".to_owned());
        }
        let roots = Arc::new(roots);
        Ok(Self {
            config: config(&roots),
            roots,
            ..self
        })
    }

    /// Shakes hands, or says why that cannot be.
    pub(super) async fn shake(
        &self,
        socket: TcpStream,
        address: &str,
    ) -> Result<TlsStream<TcpStream>, CheckOutcome> {
        if self.roots.is_empty() {
            return Err(CheckOutcome::fail(
                FailureClass::Misconfigured,
                format!("{address}: {NO_ROOTS}"),
            ));
        }
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let shaken = connector.connect(self.name.clone(), socket).await;
        shaken.map_err(|error| failed(address, &error))
    }
}

/// Says why a handshake failed, or what came instead of an answer.
pub(super) fn failed(address: &str, error: &(dyn StdError + 'static)) -> CheckOutcome {
    let (class, told) = match of_tls(error) {
        Some(error) => (class(error), sentence(error)),
        None => (
            FailureClass::Unreachable,
            format!("no TLS handshake: {error}"),
        ),
    };
    CheckOutcome::fail(class, format!("{address}: {told}"))
}

/// Finds what TLS itself says in an error, however it is wrapped.
pub(super) fn of_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    // Bounded: a chain of errors that loops must not hang a check.
    for _ in 0..16 {
        let error = next?;
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(found);
        }
        // An `io::Error` shows the source of what it wraps, and not what it wraps.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

const fn class(error: &TlsError) -> FailureClass {
    match error {
        TlsError::InvalidMessage(_) => FailureClass::Misconfigured,
        _ => FailureClass::Tls,
    }
}

fn sentence(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(error) => of_certificate(error),
        TlsError::InvalidMessage(_) => "answers, and not in TLS; is it http:// there?".to_owned(),
        TlsError::AlertReceived(alert) => format!("refuses to speak TLS with us: {alert:?}"),
        error => format!("no TLS: {error}"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            let ago = spoken(Duration::from_secs(ago));
            format!("its certificate ran out {ago} ago")
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let to_come = not_before.as_secs().saturating_sub(time.as_secs());
            let to_come = spoken(Duration::from_secs(to_come));
            format!("its certificate is valid in {to_come}; is the clock of this host right?")
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            let few: Vec<&str> = presented.iter().take(3).map(|it| bare(it)).collect();
            let presented = if few.is_empty() {
                "nobody".to_owned()
            } else {
                few.join(", ")
            };
            format!("its certificate is for {presented}, and not for {expected}")
        }
        // The latter where an authority was made anew under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by nobody whom this host trusts; `HttpCheck::trusting` \
             takes the certificate of an authority of your own"
                .to_owned()
        }
        error => format!("its certificate is not accepted: {error}"),
    }
}

/// A name as it is written: TLS names it with its kind, `DnsName("shop.test")`.
fn bare(presented: &str) -> &str {
    let inner = presented
        .split_once('(')
        .and_then(|(_, it)| it.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

/// The host's roots, read once: clients read theirs once, too.
fn host_roots() -> &'static Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        // Some of a host's roots may be older than what is accepted today.
        let _ = roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    })
}

fn config(roots: &Arc<RootCertStore>) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need")
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// What is wrong with a host that trusts nobody.
const NO_ROOTS: &str = "this host has no root certificates (package ca-certificates, or the \
     variable SSL_CERT_FILE), so nobody can be trusted";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_certificate_can_have() {
        for (host, is_one) in [
            ("payments.internal", true),
            ("10.0.0.1", true),
            ("[::1]", true),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(Tls::to(host).is_some(), is_one, "{host:?}");
        }
    }

    #[test]
    fn what_tls_says_is_found_in_what_wraps_it() {
        let deep = io::Error::other(io::Error::other(TlsError::DecryptError));
        assert!(matches!(of_tls(&deep), Some(TlsError::DecryptError)));
        assert!(of_tls(&io::Error::other("no")).is_none());
    }

    #[tokio::test]
    async fn a_host_that_trusts_nobody_is_told_so() {
        let roots = Arc::new(RootCertStore::empty());
        let tls = Tls {
            name: ServerName::try_from("a.test").expect("a name"),
            config: config(&roots),
            roots,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let address = listener.as_ref().map(|it| it.local_addr());
        let address = address.expect("a port").expect("bound");
        let socket = TcpStream::connect(address).await.expect("connected");
        let Err(outcome) = tls.shake(socket, "a.test:443").await else {
            panic!("nobody is trusted");
        };
        assert_eq!(outcome.class(), Some(FailureClass::Misconfigured));
        assert!(outcome.message().contains("SSL_CERT_FILE"), "{outcome:?}");
    }
}
