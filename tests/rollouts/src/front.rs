//! What stands between the clients and the backends.
//!
//! HAProxy and nginx run the files of `examples/deploy`, with the addresses replaced.

use std::{fs, net::SocketAddr, path::Path};

use support::{HaProxy, Nginx, free_port};

/// A way from the clients to the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Front {
    /// None: HTTP/1 clients that keep connections, told where to connect by a registry.
    Direct,
    /// None: HTTP/2 clients.
    DirectH2,
    /// HAProxy, with a readiness that answers 503 while leaving.
    HaProxy503,
    /// HAProxy with `disable-on-404`.
    HaProxy404,
    /// nginx, whose `proxy_next_upstream` is the default.
    Nginx,
    /// nginx with `proxy_next_upstream off`.
    NginxOff,
}

impl Front {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::HaProxy503,
        Self::HaProxy404,
        Self::Nginx,
        Self::NginxOff,
        Self::Direct,
        Self::DirectH2,
    ];

    /// The name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::DirectH2 => "direct-h2",
            Self::HaProxy503 => "haproxy-503",
            Self::HaProxy404 => "haproxy-404",
            Self::Nginx => "nginx",
            Self::NginxOff => "nginx-off",
        }
    }

    /// Finds one by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|front| front.name() == name)
    }

    /// Whether clients connect to the backends themselves.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::DirectH2)
    }

    /// Whether losing nothing is possible at all, so that a loss is a fault of the server.
    ///
    /// Without a proxy a request can cross the end of its connection. nginx with
    /// `proxy_next_upstream off` learns that an instance is gone by failing a request.
    #[must_use]
    pub const fn can_be_lossless(self) -> bool {
        !matches!(self, Self::Direct | Self::DirectH2 | Self::NginxOff)
    }
}

/// A front that is up.
#[derive(Debug)]
pub struct Standing {
    proxy: Option<Proxy>,
    /// Where clients connect, if it is not to the backends.
    pub address: Option<SocketAddr>,
}

#[derive(Debug)]
enum Proxy {
    HaProxy(HaProxy),
    // Kept for its drop, which ends it.
    Nginx(#[allow(dead_code, reason = "its drop ends the process")] Nginx),
}

impl Standing {
    /// Starts a front for two backends. Blocks until it is up.
    ///
    /// # Panics
    /// A program is missing, or a file of `examples/deploy` has lost what is replaced here.
    #[must_use]
    pub fn start(front: Front, backends: [SocketAddr; 2]) -> Self {
        let port = free_port();
        let proxy = match front {
            Front::Direct | Front::DirectH2 => None,
            Front::HaProxy503 | Front::HaProxy404 => {
                let config = haproxy(port, backends, front == Front::HaProxy404);
                Some(Proxy::HaProxy(HaProxy::start(&config)))
            }
            Front::Nginx | Front::NginxOff => {
                let config = nginx(port, backends, front == Front::NginxOff);
                Some(Proxy::Nginx(Nginx::start(&config)))
            }
        };
        let address = proxy.is_some().then_some(([127, 0, 0, 1], port).into());
        Self { proxy, address }
    }

    /// Whether the front, if it watches its backends at all, has this one in.
    #[must_use]
    pub fn has_in(&self, backend: usize) -> bool {
        let Some(Proxy::HaProxy(haproxy)) = &self.proxy else {
            return true;
        };
        let name = format!("app{}", backend + 1);
        let rows = haproxy.show_stat();
        let row = rows.iter().find(|row| row["svname"] == name);
        row.is_some_and(|row| row["status"] == "UP")
    }

    /// What the front logged about failures, for a person who asks why.
    #[must_use]
    pub fn complaints(&self) -> String {
        match &self.proxy {
            Some(Proxy::HaProxy(haproxy)) => haproxy.log(),
            Some(Proxy::Nginx(nginx)) => nginx.error_log(),
            None => String::new(),
        }
    }
}

fn haproxy(port: u16, backends: [SocketAddr; 2], not_found: bool) -> String {
    let mut config = addressed("haproxy.cfg", backends);
    replace(&mut config, "bind :80", &format!("bind 127.0.0.1:{port}"));
    replace(&mut config, "/run/haproxy/admin.sock", "{dir}/admin.sock");
    // At this rate only what went wrong is worth a line.
    replace(
        &mut config,
        "option httplog",
        "option httplog\n    option dontlog-normal",
    );
    if not_found {
        replace(
            &mut config,
            "# http-check disable-on-404",
            "http-check disable-on-404",
        );
    }
    config
}

fn nginx(port: u16, backends: [SocketAddr; 2], off: bool) -> String {
    let mut config = addressed("nginx.conf", backends);
    replace(
        &mut config,
        "listen 80",
        &format!("listen 127.0.0.1:{port}"),
    );
    // The id that the clients chose is what the journals are compared by.
    replace(
        &mut config,
        "X-Request-Id $request_id",
        "X-Request-Id $http_x_request_id",
    );
    if off {
        let default = "proxy_next_upstream error timeout;";
        replace(&mut config, default, "proxy_next_upstream off;");
    }
    // What Debian's nginx.conf has around `conf.d`, without its paths.
    let whole = Nginx::config(port, &[], "");
    let (head, _) = whole
        .split_once("upstream app")
        .expect("it has an upstream");
    let head = head
        .replace("access_log {dir}/access.log", "access_log off")
        .replace("worker_connections 512", "worker_connections 4096");
    format!("{head}\n{config}\n}}\n")
}

fn addressed(file: &str, backends: [SocketAddr; 2]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/deploy")
        .join(file);
    let text = fs::read_to_string(&path);
    let mut text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (index, backend) in backends.iter().enumerate() {
        let example = format!("10.0.0.1{}:8000", index + 1);
        replace(&mut text, &example, &backend.to_string());
    }
    text
}

fn replace(text: &mut String, from: &str, to: &str) {
    assert!(text.contains(from), "the example no longer says {from:?}");
    *text = text.replace(from, to);
}
