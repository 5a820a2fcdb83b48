use FailureClass as Class;

use super::*;

fn failure(code: &str, message: &str) -> Failure {
    Failure::new(sqlstate::class(code, message), message)
}

/// What a code says, as a class, a `Slow` or nothing; and whether the session is over.
#[track_caller]
fn check(code: &str, message: &str, class: Option<Class>, ends_session: bool) {
    let heard = Heard::of_sqlstate(code, message, || failure(code, message));
    let said = match &heard.said {
        Said::Failure(failure) | Said::FileFailure(failure) | Said::ReadOnly { failure, .. } => {
            Some(failure.class())
        }
        Said::Slow => Some(Class::Timeout),
        Said::Nothing => None,
    };
    assert_eq!(
        (said, heard.ends_session),
        (class, ends_session),
        "{code} {message}"
    );
}

#[test]
fn a_server_that_cannot_serve_is_evidence() {
    check(
        "57P01",
        "terminating connection",
        Some(Class::Unreachable),
        true,
    );
    check("57P02", "crash", Some(Class::Unreachable), true);
    check("57P03", "starting up", Some(Class::Loading), true);
    check(
        "08006",
        "connection failure",
        Some(Class::Unreachable),
        true,
    );
    check(
        "25006",
        "cannot execute INSERT",
        Some(Class::ReadOnly),
        false,
    );
    check(
        "53100",
        "could not extend file",
        Some(Class::ReadOnly),
        false,
    );
    check("53200", "out of memory", Some(Class::Overloaded), false);
    check(
        "58030",
        "could not read block",
        Some(Class::Unhealthy),
        false,
    );
    check("XX001", "invalid page", Some(Class::Unhealthy), false);
}

#[test]
fn a_server_that_answers_the_caller_is_not() {
    for code in [
        "23505", "42601", "42501", "40001", "40P01", "55P03", "22P02", "0A000", "26000",
    ] {
        check(code, "no", None, false);
    }
}

#[test]
fn a_bound_that_an_operator_has_set_is_no_failure() {
    check("57014", "canceling statement", Some(Class::Timeout), false);
    check("25P03", "idle in transaction", None, true);
    check("57P05", "idle session", None, true);
    assert_eq!(
        Heard::of_sqlstate("57014", "", || failure("57014", "")).said,
        Said::Slow
    );
}

/// Goal: a proxy's sentences are told from a server's verdict on a client's bytes.
#[test]
fn pgbouncer_is_heard_by_its_sentences() {
    let code = sqlstate::PROTOCOL_VIOLATION;
    for (message, class) in [
        ("server conn crashed?", Class::Unreachable),
        (
            "server login has been failing, try again later (server_login_retry)",
            Class::Unreachable,
        ),
        ("query_wait_timeout", Class::Overloaded),
        (
            "no more connections allowed (max_client_conn)",
            Class::RefusedByServer,
        ),
        ("no such database: shop", Class::Misconfigured),
        ("query timeout", Class::Timeout),
    ] {
        check(code, message, Some(class), true);
    }
    check(code, "insufficient data left in message", None, true);
    check(code, "client_idle_timeout", None, true);
}

#[test]
fn a_lost_session_is_evidence_and_one_out_of_step_is_only_closed() {
    let lost = Heard::of(&sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
    assert!(matches!(&lost.said, Said::Failure(failure) if failure.class() == Class::Unreachable));
    assert!(lost.ends_session);
    let confused = Heard::of(&sqlx::Error::Protocol("what?".into()));
    assert_eq!(
        (confused.said, confused.ends_session),
        (Said::Nothing, true)
    );
    for error in [sqlx::Error::RowNotFound, sqlx::Error::PoolTimedOut] {
        assert_eq!(Heard::of(&error), Heard::nothing(), "{error}");
    }
}

#[test]
fn mysql_is_heard_by_its_numbers() {
    let heard = |number| Heard::of_mysql(number, || Failure::new(Class::ReadOnly, "read-only"));
    for number in [1053, 1927] {
        assert!(heard(number).ends_session, "{number}");
    }
    let by_role = |number| match heard(number).said {
        Said::ReadOnly { by_role, .. } => Some(by_role),
        _ => None,
    };
    for (number, expected) in [(1290, true), (1836, true), (1036, true), (1021, false)] {
        assert_eq!(by_role(number), Some(expected), "{number}");
    }
    assert_eq!(heard(3024).said, Said::Slow);
    for number in [1062, 1064, 1142, 1205, 1213, 1792] {
        assert_eq!(heard(number), Heard::nothing(), "{number}");
    }
    let option = Heard::of_mysql(1290, || {
        Failure::new(Class::Unhealthy, "--secure-file-priv")
    });
    assert_eq!(option, Heard::nothing());
}
