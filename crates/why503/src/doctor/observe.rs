//! What a probe says, as facts.

use std::time::Duration;

use jiff::Timestamp;
use steadfast_diagnosis::{
    Dns, DnsFault, Evidence, Id, Outcome, Path, Text, Tied, Tls, TlsFault, Via, Wire,
};

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
    let path = if is_of_nobodys_path(probe, target) {
        into.could_not(
            Id::AppWrongPath,
            "no path was named, and `/` answers 404: no request of the application was seen",
            &format!("give the path of a request, such as {target}orders"),
        );
        Path::Root
    } else {
        probe.path
    };
    let seen = Wire::Probe {
        via: probe.via,
        path,
        outcome: probe.outcome,
        after,
    };
    into.saw(&source, tied.clone(), seen);
    if let Some(answer) = &probe.answer {
        let after = probe.timing.first_byte.unwrap_or(probe.timing.total);
        for seen in maker::observe(answer, after) {
            into.saw(&source, tied.clone(), seen);
        }
        let offered = answer.header("alt-svc").unwrap_or("");
        if offered.split(',').any(|it| it.trim().starts_with("h3")) {
            into.could_not(
                Id::HostFirewallDrop,
                "the service offers HTTP/3 (alt-svc), which was not asked",
                "curl --http3-only with the same URL",
            );
        }
        // What comes out of a cache bears the date of whoever filled it.
        let date = answer
            .header("date")
            .filter(|_| answer.header("age").is_none());
        if let Some(by) = date.and_then(|it| clock_off(it, answer.asked, answer.received)) {
            into.saw(&source, Tied::Service, Wire::ClockOff { by });
        }
    }
    if probe.via == Via::Given {
        name(probe, target, into);
        certificate(probe, &source, &Tied::Service, into);
    }
}

/// Whether nothing is at `/` of a service of which nobody named a path: an application need not
/// have a page there.
fn is_of_nobodys_path(probe: &Probe, target: &Target) -> bool {
    probe.path == Path::Given && !target.names_path && probe.outcome == Outcome::Answered(404)
}

fn before(probe: &Probe) -> Duration {
    let timing = &probe.timing;
    [timing.dns, timing.connect, timing.tls]
        .into_iter()
        .flatten()
        .sum()
}

/// By how much the other side's clock differs at least. Its header has whole seconds, and it was
/// written at some moment between the question and the answer, which lie far apart on a busy host.
fn clock_off(date: &str, asked: Timestamp, received: Timestamp) -> Option<Duration> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let ahead = theirs.duration_since(received);
    let behind = asked.duration_since(theirs) - jiff::SignedDuration::from_secs(1);
    Duration::try_from(ahead.max(behind).max(jiff::SignedDuration::ZERO)).ok()
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
        let at = |second: &str| -> Timestamp {
            let text = format!("1994-11-06T08:49:{second}Z");
            text.parse().expect("a moment")
        };
        let off = |asked, received| {
            clock_off("Sun, 06 Nov 1994 08:49:37 GMT", at(asked), at(received))
                .map(|it| it.as_millis())
        };
        assert_eq!(off("40", "40.2"), Some(2000));
        assert_eq!(off("34", "34.5"), Some(2500));
        // The answer took its time, or whoever reads it did.
        assert_eq!(off("37.9", "52"), Some(0));
        assert_eq!(off("38", "38"), Some(0));
        assert_eq!(clock_off("yesterday", at("40"), at("41")), None);
    }
}
