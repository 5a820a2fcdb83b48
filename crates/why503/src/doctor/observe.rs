//! What a probe says, as facts.

use std::time::Duration;

use jiff::Timestamp;
use steadfast_diagnosis::{Dns, DnsFault, Evidence, Outcome, Text, Tied, Tls, TlsFault, Via, Wire};

use crate::{
    maker,
    probe::{Certificate, Distrust, Probe},
    target::Target,
};

/// Says what a probe saw.
pub(crate) fn tell(probe: &Probe, target: &Target, into: &mut Evidence) {
    let source = format!("GET {}", probe.url);
    let tied = match target.port {
        0 => Tied::Service,
        port => Tied::Port(port),
    };
    // A head that took its time is what timing tells; the body may go on for ever.
    let after = probe
        .timing
        .first_byte
        .map_or(probe.timing.total, |it| it + before(probe));
    let seen = Wire::Probe {
        via: probe.via,
        path: probe.path,
        outcome: probe.outcome,
        after,
    };
    into.saw(&source, tied.clone(), seen);
    if let Some(answer) = &probe.answer {
        let after = probe.timing.first_byte.unwrap_or(probe.timing.total);
        for seen in maker::observe(answer, after) {
            into.saw(&source, tied.clone(), seen);
        }
        if let Some(by) = answer
            .header("date")
            .and_then(|it| clock_off(it, answer.received))
        {
            into.saw(&source, Tied::Service, Wire::ClockOff { by });
        }
    }
    if probe.via == Via::Given {
        name(probe, target, into);
        certificate(probe, &source, &Tied::Service, into);
    }
}

fn before(probe: &Probe) -> Duration {
    let timing = &probe.timing;
    [timing.dns, timing.connect, timing.tls]
        .into_iter()
        .flatten()
        .sum()
}

/// By how much the other side's clock differs; its header has whole seconds.
fn clock_off(date: &str, received: Timestamp) -> Option<Duration> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(received.duration_since(theirs).unsigned_abs())
}

fn name(probe: &Probe, target: &Target, into: &mut Evidence) {
    let Some(after) = probe.timing.dns else {
        return;
    };
    if target.host.parse::<std::net::IpAddr>().is_ok() {
        return;
    }
    let name = Text::new(&target.host);
    let seen = match probe.outcome {
        Outcome::NameUnknown => {
            let why = fault(probe.detail.as_deref().unwrap_or(""));
            Dns::Failed { name, why, after }
        }
        _ => Dns::Found {
            name,
            addresses: 1,
            after,
        },
    };
    into.saw("getaddrinfo", Tied::Service, seen);
}

/// What the resolver's words mean; glibc and musl have different ones.
pub(crate) fn fault(detail: &str) -> DnsFault {
    let has = |words: &[&str]| words.iter().any(|it| detail.contains(it));
    if has(&[
        "Temporary failure",
        "Try again",
        "no answer from the resolver",
    ]) {
        DnsFault::TryAgain
    } else if has(&[
        "No address associated",
        "Name has no usable address",
        "has no address",
    ]) {
        DnsFault::NoAddress
    } else if has(&[
        "Name or service not known",
        "Name does not resolve",
        "nodename nor servname",
    ]) {
        DnsFault::NotThere
    } else {
        DnsFault::Other
    }
}

/// Says what is known of the certificate of whoever was asked.
pub(crate) fn certificate(probe: &Probe, source: &str, tied: &Tied, into: &mut Evidence) {
    if let Some(certificate) = &probe.certificate {
        let seen = Tls::Certificate {
            subject: Text::new(&certificate.subject),
            names: Text::new(&certificate.names.join(" ")),
            left: left(certificate),
        };
        into.saw(source, tied.clone(), seen);
        for fault in &certificate.faults {
            let (why, detail) = distrust(fault, certificate);
            let detail = Text::new(&detail);
            into.saw(source, Tied::Service, Tls::Fault { why, detail });
        }
    } else if probe.outcome == Outcome::TlsFailed {
        let detail = Text::new(probe.detail.as_deref().unwrap_or(""));
        into.saw(
            source,
            tied.clone(),
            Tls::Fault {
                why: TlsFault::Protocol,
                detail,
            },
        );
    }
}

fn left(certificate: &Certificate) -> Duration {
    let now = Timestamp::now().as_second();
    let left = certificate.not_after.map_or(0, |it| it - now);
    Duration::from_secs(u64::try_from(left).unwrap_or(0))
}

fn distrust(fault: &Distrust, certificate: &Certificate) -> (TlsFault, String) {
    match fault {
        Distrust::Expired => (TlsFault::Expired, certificate.subject.clone()),
        Distrust::NotYetValid => (TlsFault::NotYetValid, certificate.subject.clone()),
        Distrust::OtherName => (TlsFault::WrongName, certificate.names.join(" ")),
        Distrust::UnknownIssuer => {
            let issuer = format!("issued by {}", certificate.issuer);
            (TlsFault::UnknownIssuer, issuer)
        }
        Distrust::Other(text) => (TlsFault::Other, text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolvers_words_are_understood() {
        for (detail, expected) in [
            (
                "failed to lookup address information: Name or service not known",
                DnsFault::NotThere,
            ),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                DnsFault::TryAgain,
            ),
            (
                "failed to lookup address information: No address associated with hostname",
                DnsFault::NoAddress,
            ),
            (
                "failed to lookup address information: Name does not resolve",
                DnsFault::NotThere,
            ),
            ("something new", DnsFault::Other),
        ] {
            assert_eq!(fault(detail), expected, "{detail}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_measured() {
        let received = "1994-11-06T08:49:40Z".parse().expect("a moment");
        let off = clock_off("Sun, 06 Nov 1994 08:49:37 GMT", received);
        assert_eq!(off, Some(Duration::from_secs(3)));
        assert_eq!(clock_off("yesterday", received), None);
    }
}
