//! TLS that goes on whatever the certificate is: the answer behind it matters, and what is wrong
//! with the certificate is a finding of its own.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use steadfast_diagnosis::Outcome;
use tokio_rustls::TlsConnector;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use super::{Probe, connect::Stream};
use crate::{cli::HttpVersion, clock};

/// What is known of a server's certificate.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// What is wrong with it; nothing, if it is good for the name that was asked.
    pub(crate) faults: Vec<Distrust>,
    /// When it ends, in seconds since 1970.
    pub(crate) not_after: Option<i64>,
    /// For whom it is.
    pub(crate) subject: String,
    /// The names and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// Who signed it.
    pub(crate) issuer: String,
}

/// Why a certificate is not good for the name that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// It has ended.
    Expired,
    /// It has not begun.
    NotYetValid,
    /// It is for other names.
    OtherName,
    /// Nobody this host trusts has signed it.
    UnknownIssuer,
    /// Something else.
    Other(String),
}

/// Shakes hands, and notes how long that took and what the certificate says.
pub(super) async fn handshake(
    stream: Box<dyn Stream>,
    host: &str,
    http: HttpVersion,
    probe: &mut Probe,
) -> Option<(Box<dyn Stream>, bool)> {
    let begin = clock::now();
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        probe.outcome = Outcome::TlsFailed;
        probe.detail = Some(format!("`{host}` is no name that TLS can ask for"));
        return None;
    };
    let noted = Arc::new(Noted::default());
    let config = config(Arc::clone(&noted), http);
    // Should the probe be cut here, the other side was silent in the handshake.
    probe.outcome = Outcome::Silent;
    let shaken = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    probe.certificate = noted
        .0
        .lock()
        .expect("nothing panics while it notes")
        .take();
    match shaken {
        Ok(stream) => {
            probe.timing.tls = Some(clock::now().saturating_duration_since(begin));
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Some((Box::new(stream), h2))
        }
        Err(error) => {
            probe.outcome = match error.get_ref().and_then(|it| it.downcast_ref::<Error>()) {
                Some(_) => Outcome::TlsFailed,
                None => Outcome::Closed,
            };
            probe.detail = Some(error.to_string());
            None
        }
    }
}

fn config(noted: Arc<Noted>, http: HttpVersion) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Witness {
        inner: WebPkiServerVerifier::builder_with_provider(roots(), Arc::clone(&provider))
            .build()
            .ok(),
        schemes: provider
            .signature_verification_algorithms
            .supported_schemes(),
        noted,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = match http {
        HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::One => vec![b"http/1.1".to_vec()],
        HttpVersion::Two => vec![b"h2".to_vec()],
    };
    config
}

/// Whom this host trusts; Mozilla's list where the host has none.
fn roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(store)
    };
    Arc::clone(ROOTS.get_or_init(read))
}

#[derive(Default)]
struct Noted(Mutex<Option<Certificate>>);

/// Notes what the usual verification says, and lets everybody pass.
struct Witness {
    inner: Option<Arc<WebPkiServerVerifier>>,
    schemes: Vec<SignatureScheme>,
    noted: Arc<Noted>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .inner
            .as_ref()
            .map(|inner| inner.verify_server_cert(end_entity, intermediates, name, ocsp, now));
        let parsed = x509_parser::parse_x509_certificate(end_entity).ok();
        let parsed = parsed.as_ref().map(|(_, it)| it);
        let certificate = Certificate {
            faults: faults(end_entity, name, now, verified, parsed),
            not_after: parsed.map(|it| it.validity().not_after.timestamp()),
            subject: parsed.map_or_else(String::new, |it| it.subject().to_string()),
            names: parsed.map_or_else(Vec::new, names),
            issuer: parsed.map_or_else(String::new, |it| it.issuer().to_string()),
        };
        *self.noted.0.lock().expect("nothing panics while it notes") = Some(certificate);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

/// The names of a certificate, bounded: some have hundreds.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let each = names.value.general_names.iter().filter_map(|it| match it {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|it| IpAddr::from(it).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|it| IpAddr::from(it).to_string()),
        },
        _ => None,
    });
    each.take(NAMES_MAX).collect()
}

/// Names of a certificate that are kept.
const NAMES_MAX: usize = 16;

/// The verification stops at the first fault, and a certificate that has ended may be for other
/// names too, so end and name are looked at beside it.
fn faults(
    end_entity: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
    verified: Option<Result<ServerCertVerified, Error>>,
    parsed: Option<&X509Certificate<'_>>,
) -> Vec<Distrust> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.map(|it| it.validity());
    let mut faults = Vec::new();
    if validity.is_some_and(|it| it.not_after.timestamp() < now) {
        faults.push(Distrust::Expired);
    }
    if validity.is_some_and(|it| it.not_before.timestamp() > now) {
        faults.push(Distrust::NotYetValid);
    }
    let is_for = |parsed| verify_server_name(&parsed, name).is_ok();
    if !ParsedCertificate::try_from(end_entity).is_ok_and(is_for) {
        faults.push(Distrust::OtherName);
    }
    let said = match verified {
        Some(Ok(_)) => None,
        Some(Err(error)) => Some(distrust(&error)),
        // Without roots nobody can be known.
        None => Some(Distrust::UnknownIssuer),
    };
    faults.extend(said.filter(|it| !faults.contains(it)));
    faults
}

fn distrust(error: &Error) -> Distrust {
    match error {
        Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Distrust::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Distrust::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Distrust::OtherName
            }
            CertificateError::UnknownIssuer => Distrust::UnknownIssuer,
            other => Distrust::Other(other.to_string()),
        },
        other => Distrust::Other(other.to_string()),
    }
}
