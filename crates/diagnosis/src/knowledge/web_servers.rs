//! Web servers that pass requests on or answer by themselves: Apache httpd and Varnish. What each
//! says by a rule of its own looks like what it says of a backend, so the rule is looked at first.

use super::{haproxy::out_of_service, proxies::made};
use crate::{
    ApacheLog,
    Confidence::{Likely, Proven},
    Id, Maker, Mark, Observation as O, Proxy, Role, Wire,
    engine::{
        Found,
        Strength::{Code, Direct},
        View,
    },
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::ApacheWorkerError,
        role: Role::Fault,
        title: "Apache cannot reach the backend",
        means: "Apache's proxy could not connect, or has set the worker aside after one failure and does not try it for `retry` seconds (60 by default), although it may be well again.",
        outside: "503 with *temporarily unable to service your request due to maintenance downtime or capacity problems*.",
        inside: "AH00957 (connection refused), AH01114 (failed to make connection) and AH00959 (disabling worker) in the error log.",
        threshold: "Such a line in the window. The page alone may also be a rule of the configuration.",
        fix: "Start or mend the backend. Lower `retry` on the ProxyPass line, so that one failure does not cost a minute.",
        commands: &[
            "tail -50 /var/log/apache2/error.log",
            "apachectl -t -D DUMP_VHOSTS",
            "grep -rn 'ProxyPass\\|BalancerMember' /etc/apache2/",
        ],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Proven, Code, |seen| match seen {
                O::Proxy(Proxy::ApacheSays { about: ApacheLog::ConnectRefused | ApacheLog::ConnectFailed | ApacheLog::WorkerDisabled, line, count }) if *count > 0 => {
                    Some(format!("Apache could not connect to the backend, {count} times: {line}"))
                }
                _ => None,
            });
            for (fact, servers) in out_of_service(view, Maker::Apache) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "Apache holds all {} workers of {} in error.",
                        servers.len(),
                        fact.tied
                    ),
                );
            }
            // The page is the same where a rule says so.
            let is_ruled = |seen: &O| {
                matches!(
                    seen,
                    O::Proxy(Proxy::Rule {
                        by: Maker::Apache,
                        ..
                    })
                )
            };
            if !view.any(is_ruled) {
                found.tell(view, Likely, Code, |seen| match seen {
                    O::Wire(Wire::Made { by: Maker::Apache, mark: Mark::ApacheUnavailable, .. }) => {
                        Some("Apache answered 503 by itself: the backend refuses connections, or its worker is set aside after a failure.".to_owned())
                    }
                    _ => None,
                });
            }
        },
    },
    Row {
        id: Id::ApacheRespond,
        role: Role::Fault,
        title: "Apache's configuration says 503",
        means: "A `Redirect 503`, or a `RewriteRule` with `R=503`, answers without asking anybody: a maintenance switch, or a pattern that catches more than it should.",
        outside: "Apache's page for 503, or one's own, at once.",
        inside: "The line in the configuration, and no message about a backend in the error log.",
        threshold: "A 503 that it made itself, and a rule on the way of the request that says so.",
        fix: "Look at the line, and at the condition or the file that switches it.",
        commands: &["grep -rnE 'R=503|Redirect(Match)? +503' /etc/apache2/"],
        effects: &[],
        judge: |view, found| ruled(view, found, Maker::Apache),
    },
    Row {
        id: Id::VarnishBackend,
        role: Role::Fault,
        title: "Varnish could not fetch from the backend",
        means: "The backend refused, closed or was too slow, or Varnish holds it for sick, and there was nothing in the cache that might be used.",
        outside: "503 *Backend fetch failed* with *Guru Meditation* and an XID.",
        inside: "`varnishlog -g request -q 'RespStatus == 503'`: FetchError says which; `varnishadm backend.list`.",
        threshold: "The page.",
        fix: "Go by FetchError: a refused connection, a time-out (first_byte_timeout), or no healthy backend. Let Varnish serve what is stale meanwhile (grace).",
        commands: &[
            "varnishadm backend.list",
            "varnishlog -d -g request -q 'RespStatus == 503' -i FetchError",
        ],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Varnish,
                &[Mark::VarnishFetchFailed],
                Proven,
                "Varnish could not fetch from the backend",
            );
            for (fact, servers) in out_of_service(view, Maker::Varnish) {
                let says = format!("Varnish holds all {} backends for sick.", servers.len());
                found.find(fact, Proven, Direct, says);
            }
        },
    },
    Row {
        id: Id::VarnishSynth,
        role: Role::Fault,
        title: "Varnish's program says 503",
        means: "The VCL answers with `synth(503)` and asks no backend: a maintenance switch, or a condition that catches more than it should.",
        outside: "503 of Varnish with a reason of its own, and not *Backend fetch failed*.",
        inside: "`return (synth(503, …))` in `varnishadm vcl.show`.",
        threshold: "A 503 that it made itself, and a rule on the way of the request that says so.",
        fix: "Look at the line, and at the condition or the file that switches it.",
        commands: &["varnishadm vcl.show boot | grep -n synth"],
        effects: &[],
        judge: |view, found| ruled(view, found, Maker::Varnish),
    },
];

/// A rule of the configuration that answers by itself, where that proxy made a 503.
fn ruled(view: &View<'_>, found: &mut Found<'_>, whose: Maker) {
    let made = view
        .any(|seen| matches!(seen, O::Wire(Wire::Made { by, status: 503, .. }) if *by == whose));
    // A backend that could not be asked makes a 503 of the same proxy.
    let fetched = view.any(|seen| {
        matches!(
            seen,
            O::Wire(Wire::Made {
                mark: Mark::VarnishFetchFailed,
                ..
            })
        )
    });
    for (fact, (at, rule)) in view.pick(|seen| match seen {
        O::Proxy(Proxy::Rule { by, at, rule }) if *by == whose && made && !fetched => {
            Some((at, rule))
        }
        _ => None,
    }) {
        let says = format!("{whose}'s configuration answers by itself: {rule} ({at}).");
        found.find(fact, Proven, Direct, says);
    }
}
