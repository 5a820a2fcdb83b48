//! What the process depends on, whatever it speaks: names, certificates, connections.

use std::time::Duration;

use super::{effects::at_the_application, errors_with, named, reached};
use crate::{
    CheckIs,
    Confidence::{Likely, Possible, Proven},
    Dns, Id, Lasting, LogKind, Observation as O, Own, Process, Reach, Role, ServerKind as Kind,
    Tls, TlsFault,
    engine::{
        Found,
        Strength::{Direct, Pressure},
        View,
    },
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::DnsFail,
        role: Role::Fault,
        title: "A name is not found",
        means: "The name of something that the service needs does not resolve: the resolver does not answer, the name is gone, or a search list turns one question into many. Connections that are open go on, so it shows late and in pieces.",
        outside: "503 or a time-out on whatever needs that name; after a restart everything.",
        inside: "The resolver's answer for exactly that name: *no such name* differs from *no answer*. /etc/resolv.conf, ndots, and in a cluster the DNS pods.",
        threshold: "Any failure.",
        fix: "No answer: look at the resolver. No such name: look at the record and at the search list. A name that ends with a dot is asked once.",
        commands: &[
            "getent ahosts NAME",
            "cat /etc/resolv.conf",
            "dig +short NAME",
        ],
        effects: at_the_application![
            Id::DepUnreachable,
            Id::PoolUnreachable,
            Id::NgxNoLive,
            Id::HapEmptyBackend
        ],
        judge: |view, found| {
            for (fact, (name, why, after)) in view.pick(|seen| match seen {
                O::Dns(Dns::Failed { name, why, after }) => Some((name, *why, *after)),
                _ => None,
            }) {
                found
                    .find(
                        fact,
                        Proven,
                        Direct,
                        format!("The name {name} is not found: {why} ({}).", Lasting(after)),
                    )
                    .with("NAME", name);
            }
            by_class(view, found, "dns", Proven, "the name is not found");
            for (fact, _) in reached(view, ANY, &[Reach::NameUnknown]) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!("The name of a dependency{} is not found.", named(fact)),
                );
            }
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Process(Process::LogLine {
                    about: LogKind::NameUnknown,
                    line,
                    count,
                }) => Some(format!(
                    "The service's log says {count} times that a name is not found: {line}"
                )),
                _ => None,
            });
            if found.is_empty() {
                for fact in view.all(|seen| matches!(seen, O::Dns(Dns::Found { .. }))) {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::TlsExpired,
        role: Role::Fault,
        title: "A certificate has expired",
        means: "The certificate's time is over, so each careful client ends the handshake. The server behind it is well.",
        outside: "A failed handshake; 503 or 502 from whoever has to connect there.",
        inside: "`notAfter` of the certificate that is shown.",
        threshold: "Its time is over, or has not begun; compare the clocks too.",
        fix: "Renew it, and look why it was not renewed by itself. Then reload whoever shows it: many servers read certificates only at their start.",
        commands: &[
            "openssl s_client -connect NAME -servername NAME </dev/null 2>/dev/null | openssl x509 -noout -dates -subject",
        ],
        effects: at_the_application![Id::DepUnreachable, Id::PoolUnreachable],
        judge: |view, found| {
            tls(
                view,
                found,
                &[TlsFault::Expired, TlsFault::NotYetValid],
                "The certificate is not valid at this time",
            );
            for (fact, text) in errors_with(
                view,
                &[
                    "certificate has expired",
                    "CertExpired",
                    "certificate expired",
                    "Expired",
                ],
            ) {
                if text.as_str().to_ascii_lowercase().contains("cert") {
                    found.find(
                        fact,
                        Proven,
                        Direct,
                        format!(
                            "The certificate of a dependency{} has expired: {text}.",
                            named(fact)
                        ),
                    );
                }
            }
        },
    },
    Row {
        id: Id::TlsName,
        role: Role::Fault,
        title: "A certificate is made for another name",
        means: "The certificate that is shown does not name the host that was asked for: another virtual host answered, or the address was used instead of the name.",
        outside: "A failed handshake.",
        inside: "The alternative names of the certificate, beside the name that was asked.",
        threshold: "The name is not among them.",
        fix: "Ask by the name that is in it, send that name (SNI), or have a certificate made for this one.",
        commands: &[
            "openssl s_client -connect NAME -servername NAME </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName",
        ],
        effects: at_the_application![Id::DepUnreachable, Id::PoolUnreachable],
        judge: |view, found| {
            tls(
                view,
                found,
                &[TlsFault::WrongName],
                "The certificate is made for another name",
            )
        },
    },
    Row {
        id: Id::TlsChain,
        role: Role::Fault,
        title: "A certificate is not trusted, or TLS cannot be agreed",
        means: "The issuer is not known to the client, an intermediate certificate is missing, or both sides have no version or cipher in common.",
        outside: "A failed handshake.",
        inside: "The chain that is shown, and the roots that the client has.",
        threshold: "The handshake fails for that.",
        fix: "Send the whole chain but the root. Add a private issuer to the client's roots. For versions and ciphers, compare both sides.",
        commands: &["openssl s_client -connect NAME -servername NAME -showcerts </dev/null"],
        effects: at_the_application![Id::DepUnreachable, Id::PoolUnreachable],
        judge: |view, found| {
            let faults = &[
                TlsFault::UnknownIssuer,
                TlsFault::Incomplete,
                TlsFault::Revoked,
                TlsFault::Protocol,
                TlsFault::ClientRequired,
                TlsFault::Other,
            ];
            tls(view, found, faults, "TLS cannot be agreed");
            by_class(view, found, "tls", Likely, "TLS could not be agreed");
            for (fact, _) in reached(view, ANY, &[Reach::TlsFailed]) {
                found.find(
                    fact,
                    Likely,
                    Direct,
                    format!("TLS with a dependency{} could not be agreed.", named(fact)),
                );
            }
        },
    },
    Row {
        id: Id::DepUnreachable,
        role: Role::Fault,
        title: "A dependency cannot be reached",
        means: "Nobody answers at the dependency's address: it is not running, moved, or the network does not lead there.",
        outside: "503 with `cause=dependency-down`, or the application's own error.",
        inside: "The error of the last connect: refused, no route, or no answer to the handshake.",
        threshold: "The connect fails.",
        fix: "Refused: start it, or correct the port. No answer: look at firewalls, routes and security groups between the two.",
        commands: &["nc -zv NAME", "ss -ltnp"],
        effects: at_the_application![Id::PoolUnreachable],
        judge: |view, found| {
            for (fact, _) in reached(
                view,
                &[Kind::Http, Kind::Other],
                &[Reach::Refused, Reach::Unroutable, Reach::Closed],
            ) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "The dependency{} cannot be reached: the connection is refused or closed.",
                        named(fact)
                    ),
                );
            }
            for (fact, after) in
                reached(view, &[Kind::Http, Kind::Other], &[Reach::ConnectTimedOut])
            {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "The dependency{} does not answer the handshake within {}.",
                        named(fact),
                        Lasting(after)
                    ),
                );
            }
            by_class(view, found, "unreachable", Proven, "it cannot be reached");
            for (fact, text) in errors_with(
                view,
                &[
                    "Connection refused",
                    "connection refused",
                    "No route to host",
                    "ECONNREFUSED",
                ],
            ) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!("The dependency{} cannot be reached: {text}.", named(fact)),
                );
            }
            for (fact, (to, count)) in view.pick(|seen| match seen {
                O::Process(Process::Connecting { to, count }) => Some((to, *count)),
                _ => None,
            }) {
                if count > 0 {
                    found.find(
                        fact,
                        Possible,
                        Pressure,
                        format!("{count} connects to {to} have not been answered."),
                    );
                }
            }
            for (fact, _) in reached(view, &[Kind::Http, Kind::Other], &[Reach::Answers]) {
                found.well(fact);
            }
        },
    },
    Row {
        id: Id::DepHung,
        role: Role::Fault,
        title: "A dependency takes requests and does not answer",
        means: "The connection works, and the answer does not come within the time-out: the dependency is stopped, waits for something itself, or is far too slow.",
        outside: "503 or 504 after a time-out; places of the service are held meanwhile.",
        inside: "Connected and silent; calls that hang in the breaker's count; a check that times out.",
        threshold: "No byte within the time-out.",
        fix: "Look at it as at a service of its own: state of its process, its pools, its dependencies. Keep the time-outs in front of it short, so that it cannot hold every place.",
        commands: &["why503 http://NAME/"],
        effects: at_the_application![Id::PoolStuck, Id::PoolApp],
        judge: |view, found| {
            for (fact, after) in reached(view, &[Kind::Http, Kind::Other], &[Reach::Silent]) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "The dependency{} takes the connection and does not answer within {}.",
                        named(fact),
                        Lasting(after)
                    ),
                );
            }
            for class in ["timeout", "stuck", "stale"] {
                by_class(view, found, class, Likely, "it does not answer in time");
            }
            for (fact, (hanging, slow, of)) in view.pick(|seen| match seen {
                O::Own(Own::Calls {
                    hanging, slow, of, ..
                }) => Some((*hanging, *slow, *of)),
                _ => None,
            }) {
                if hanging >= 5 && view.has_trouble() {
                    found.find(fact, Possible, Pressure, format!("{hanging} calls{} have been under way for long; {slow} of the last {of} were slow.", named(fact)));
                }
            }
        },
    },
    Row {
        id: Id::DepReadOnly,
        role: Role::Fault,
        title: "A dependency takes no writes",
        means: "It answers reads and refuses writes: a replica after a failover, a disk that is full, or a switch that somebody set. Sessions that were opened before a failover lead to the old server and stay there.",
        outside: "Writes fail, reads work; `/ready/` says degraded.",
        inside: "The server's own words, kept beside the dependency on the operator's page.",
        threshold: "The server said so.",
        fix: "Find where the master is now, and whether the address leads there. Look at the server's disk. Close sessions that lead to the old server (the pool's guard does that by itself).",
        commands: &[],
        effects: at_the_application![],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::ReadOnly { error, since }) => Some(format!(
                    "A dependency has taken no writes for {}: {error}.",
                    Lasting(*since)
                )),
                _ => None,
            });
            by_class(view, found, "read-only", Proven, "it takes no writes");
        },
    },
    Row {
        id: Id::DepLogin,
        role: Role::Fault,
        title: "A dependency does not accept the login",
        means: "It can be reached and refuses the account: a password that was changed on one side, a certificate, a rule about addresses, or a database that does not exist.",
        outside: "The service does not start, or fails once its old sessions end.",
        inside: "The server's code: SQLSTATE 28P01, 28000 or 3D000, MySQL 1045, Redis NOAUTH or WRONGPASS.",
        threshold: "The server's own code.",
        fix: "Try the login by hand with the very settings of the service. After a rotation of secrets, restart whoever read the old one.",
        commands: &[],
        effects: at_the_application![Id::PoolUnreachable, Id::PoolSessionsRefused],
        judge: |view, found| {
            by_class(view, found, "auth", Proven, "the login is refused");
            by_class(
                view,
                found,
                "misconfigured",
                Likely,
                "its settings are wrong",
            );
            for (fact, _) in reached(view, ANY, &[Reach::LoginRefused]) {
                let sure = if view.any(|seen| matches!(seen, O::Own(_))) {
                    Likely
                } else {
                    Possible
                };
                found.find(
                    fact,
                    sure,
                    Direct,
                    format!(
                        "A dependency{} refuses the login that was tried.",
                        named(fact)
                    ),
                );
            }
        },
    },
];

const ANY: &[Kind] = Kind::ALL;

/// Looks for checks that fail, or breakers that are open, for this class of failure.
fn by_class(
    view: &View<'_>,
    found: &mut Found<'_>,
    class: &'static str,
    sure: crate::Confidence,
    says: &str,
) {
    for (fact, (error, failures, required)) in view.pick(move |seen| match seen {
        O::Own(Own::Check {
            is: CheckIs::Failing,
            class: it,
            error,
            failures,
            required,
            ..
        }) if it.as_str() == class => Some((error, *failures, *required)),
        _ => None,
    }) {
        let name = fact.tied.name().unwrap_or("a dependency");
        let needed = if required {
            ", and this instance needs it"
        } else {
            ""
        };
        let says = format!("{name}: {says}, {failures} checks in a row say so ({error}){needed}.");
        found.find(fact, sure, Direct, says);
    }
    for (fact, (error, ago)) in view.pick(move |seen| match seen {
        O::Own(Own::LastError {
            class: it,
            error,
            ago,
        }) if it.as_str() == class => Some((error, *ago)),
        _ => None,
    }) {
        let name = fact.tied.name().unwrap_or("a dependency");
        let says = format!(
            "{name}: {says}; its last error, {} ago: {error}.",
            Lasting(ago)
        );
        found.find(fact, sure, Direct, says);
    }
}

fn tls(view: &View<'_>, found: &mut Found<'_>, faults: &'static [TlsFault], says: &str) {
    for (fact, (why, detail)) in view.pick(move |seen| match seen {
        O::Tls(Tls::Fault { why, detail }) if faults.contains(why) => Some((*why, detail)),
        _ => None,
    }) {
        found.find(
            fact,
            Proven,
            Direct,
            format!("{says}{}: {why} ({detail}).", named(fact)),
        );
    }
    for (fact, left) in view.pick(|seen| match seen {
        O::Tls(Tls::Certificate { left, .. }) => Some(*left),
        _ => None,
    }) {
        if left > Duration::from_secs(86_400) {
            found.well(fact);
        }
    }
}
