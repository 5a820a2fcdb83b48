//! What an I/O error means on the way to a server, whatever driver made it. Pure.

use std::io;

use steadfast_core::{Failure, FailureClass};

/// Says what an error of the way to a server means: its name, its address, the network and this
/// process's own sockets. `None` for one that came on a connection (a close, an answer that is
/// no answer), which drivers tell in words of their own.
#[must_use]
pub fn io_failure(error: &io::Error) -> Option<Failure> {
    use io::ErrorKind as Kind;
    let text = error.to_string();
    // The resolver's errors have no kind of their own; std puts these words in front.
    if text.starts_with("failed to lookup address information") {
        return Some(Failure::new(FailureClass::Dns, text));
    }
    if is_out_of_files(error) {
        return Some(Failure::new(
            FailureClass::Misconfigured,
            format!("this process may open no more files: {text}"),
        ));
    }
    let class = match error.kind() {
        Kind::TimedOut => FailureClass::Timeout,
        Kind::ConnectionRefused
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::NotConnected
        // The file of a Unix socket whose server is gone.
        | Kind::NotFound => FailureClass::Unreachable,
        // No local port left, no right to open the socket, no such address here.
        Kind::AddrNotAvailable | Kind::AddrInUse | Kind::PermissionDenied | Kind::InvalidInput => {
            FailureClass::Misconfigured
        }
        _ => return None,
    };
    Some(Failure::new(class, text))
}

/// EMFILE and ENFILE have no [`io::ErrorKind`]; the numbers are those of Linux and macOS.
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_told_from_the_connection() {
        use io::ErrorKind as Kind;
        let class = |error: io::Error| io_failure(&error).map(|failure| failure.class());
        for (kind, expected) in [
            (Kind::TimedOut, FailureClass::Timeout),
            (Kind::ConnectionRefused, FailureClass::Unreachable),
            (Kind::NotFound, FailureClass::Unreachable),
            (Kind::AddrNotAvailable, FailureClass::Misconfigured),
        ] {
            assert_eq!(class(kind.into()), Some(expected), "{kind}");
        }
        let unknown = io::Error::other("failed to lookup address information: no such name");
        assert_eq!(class(unknown), Some(FailureClass::Dns));
        for kind in [
            Kind::ConnectionReset,
            Kind::UnexpectedEof,
            Kind::InvalidData,
        ] {
            assert_eq!(class(kind.into()), None, "{kind}");
        }
        #[cfg(unix)]
        for number in [23, 24] {
            let failure = io_failure(&io::Error::from_raw_os_error(number)).expect("it is known");
            assert_eq!(failure.class(), FailureClass::Misconfigured);
            assert!(failure.message().contains("no more files"), "{failure}");
        }
    }
}
