//! What PgBouncer says in its own name, most of it with one code (08P01) that means a
//! violation of the protocol everywhere else. Its texts are never translated, so they decide.

use steadfast_core::FailureClass;

/// Parts of its sentences, from `src/client.c`, `src/janitor.c`, `src/objects.c` and
/// `src/server.c` of PgBouncer 1.18 to 1.24.
const SENTENCES: &[(&str, FailureClass)] = &[
    ("no more connections allowed", FailureClass::RefusedByServer),
    ("query_wait_timeout", FailureClass::Overloaded),
    ("query timeout", FailureClass::Timeout),
    ("no such database", FailureClass::Misconfigured),
    ("is disabled", FailureClass::Misconfigured),
    ("bouncer config error", FailureClass::Misconfigured),
    ("no such user", FailureClass::Auth),
    ("authentication failed", FailureClass::Auth),
    ("server login has been failing", FailureClass::Unreachable),
    ("server login failed", FailureClass::Unreachable),
    ("server conn crashed", FailureClass::Unreachable),
    ("server connection closed", FailureClass::Unreachable),
    ("server dns lookup failed", FailureClass::Unreachable),
    ("server closed the connection", FailureClass::Unreachable),
    ("server down", FailureClass::Unreachable),
    ("connect failed", FailureClass::Unreachable),
    ("cannot connect", FailureClass::Unreachable),
    ("connect timeout", FailureClass::Unreachable),
    ("connections dropped", FailureClass::Unreachable),
    ("shutting down", FailureClass::Unreachable),
];

/// Says what kind of failure a sentence of PgBouncer is; `None` if it is none of its own.
pub(crate) fn class(message: &str) -> Option<FailureClass> {
    let message = message.to_ascii_lowercase();
    let known = SENTENCES.iter().find(|(part, _)| message.contains(part));
    known.map(|(_, class)| *class)
}
