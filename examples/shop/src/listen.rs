//! What a person is told whose service cannot have an address: which setting, which address,
//! and what to do.

use std::{fmt::Display, io};

use tokio::net::TcpListener;

use crate::Fatal;

/// Listens at the address that a setting holds.
pub(crate) async fn listen(setting: &str, at: &str) -> Result<TcpListener, Fatal> {
    let bound = TcpListener::bind(at).await;
    bound.map_err(|error| fault(setting, at, &error))
}

/// Why nobody listens there.
pub(crate) fn fault(setting: &str, at: impl Display, error: &io::Error) -> Fatal {
    Fatal::new(match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{setting} {at} is taken; end what listens there, or set {setting}=127.0.0.1:0 for a free port"
        ),
        _ => format!(
            "{setting} {at}: {error}; allowed is an address of this host and a port, as 127.0.0.1:8000"
        ),
    })
}

/// Why the guard did not serve. It names the probe listener by its address, which is that of
/// `PROBE_ADDR` unless the guard's own settings, which go before it, hold another.
pub(crate) fn not_served(probe_addr: Option<impl Display>, error: &io::Error) -> Fatal {
    let said = error.to_string();
    let Some(at) = said.strip_prefix("probe listener ") else {
        return Fatal::new(said);
    };
    if let Some(address) = probe_addr
        && let Some(why) = at.strip_prefix(&format!("{address}: "))
    {
        return fault("PROBE_ADDR", address, &io::Error::new(error.kind(), why));
    }
    let (name, variable) = match at.starts_with('/') {
        true => ("probes.socket", "STEADFAST__PROBES__SOCKET"),
        false => ("probes.listen", "STEADFAST__PROBES__LISTEN"),
    };
    Fatal::new(format!(
        "{said}; {name} of STEADFAST_CONFIG or {variable} says so: end what listens there, or choose another"
    ))
}
