use std::io::{Error as IoError, ErrorKind as Kind};

use FailureClass as Class;

use super::*;

#[track_caller]
fn check(error: &sqlx::Error, class: Class) {
    assert_eq!(classify(error).class(), class, "{error}");
}

#[test]
fn an_io_error_is_classed_by_its_kind() {
    let of = |kind: Kind| sqlx::Error::Io(kind.into());
    check(&of(Kind::ConnectionRefused), Class::Unreachable);
    check(&of(Kind::NotFound), Class::Unreachable);
    check(&of(Kind::UnexpectedEof), Class::Unreachable);
    check(&of(Kind::ConnectionReset), Class::Unreachable);
    check(&of(Kind::HostUnreachable), Class::Unreachable);
    check(&of(Kind::TimedOut), Class::Timeout);
    check(&of(Kind::AddrNotAvailable), Class::Misconfigured);
    check(&of(Kind::PermissionDenied), Class::Misconfigured);
    check(&of(Kind::OutOfMemory), Class::Other);
    let lookup = "failed to lookup address information: Name or service not known";
    check(&sqlx::Error::Io(IoError::other(lookup)), Class::Dns);
    #[cfg(unix)]
    check(&IoError::from_raw_os_error(24).into(), Class::Misconfigured);
}

#[test]
fn other_errors_of_the_driver_have_a_class() {
    check(&sqlx::Error::Tls("bad certificate".into()), Class::Tls);
    check(
        &sqlx::Error::Configuration("no host".into()),
        Class::Misconfigured,
    );
    check(&sqlx::Error::Protocol("what?".into()), Class::Unhealthy);
    check(&sqlx::Error::PoolClosed, Class::Other);
    // The kind is found however deep it sits.
    let deep = sqlx::Error::AnyDriverError(IoError::from(Kind::ConnectionRefused).into());
    check(&deep, Class::Unreachable);
}

#[test]
fn a_sqlstate_has_a_class() {
    for (code, class) in [
        ("53300", Class::RefusedByServer),
        ("57P03", Class::Loading),
        ("28000", Class::Auth),
        ("28P01", Class::Auth),
        ("42501", Class::Auth),
        ("3D000", Class::Misconfigured),
        ("53100", Class::ReadOnly),
        ("53200", Class::Overloaded),
        ("25006", Class::ReadOnly),
        ("57P01", Class::Unreachable),
        ("57014", Class::Timeout),
        ("XX000", Class::Unhealthy),
    ] {
        assert_eq!(sqlstate::class(code, "no"), class, "{code}");
    }
}

#[cfg(feature = "mysql")]
#[test]
fn a_number_of_mysql_has_a_class() {
    for (number, code, class) in [
        (1040, Some("08004"), Class::RefusedByServer),
        (1203, Some("42000"), Class::RefusedByServer),
        (1045, Some("28000"), Class::Auth),
        (1049, Some("42000"), Class::Misconfigured),
        (1053, Some("08S01"), Class::Unreachable),
        (1836, Some("HY000"), Class::ReadOnly),
        (1036, Some("HY000"), Class::ReadOnly),
        (1105, Some("HY000"), Class::Unhealthy),
    ] {
        assert_eq!(mysql::number_class(number, code, "no"), class, "{number}");
    }
    let option = |message| mysql::number_class(1290, Some("HY000"), message);
    let running = "The MySQL server is running with the --super-read-only option";
    assert_eq!(option(running), Class::ReadOnly);
    let files = "The MySQL server is running with the --secure-file-priv option";
    assert_eq!(option(files), Class::Unhealthy);
}
