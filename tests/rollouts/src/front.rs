//! What stands between the clients and the backends.
//!
//! All of them run the files of `examples/deploy`, with the addresses replaced.
//!
//! A front is *active* if it asks `/ready/`, and *passive* if it learns that an instance leaves
//! from the instance alone: by `connection: close`, and by refused connections.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use support::{Caddy, Envoy, HaProxy, Nginx, Relay, Traefik, free_port};

use crate::backend::PATIENCE;

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
    /// HAProxy behind a network that is slow to tell it what an instance says.
    HaProxyFar,
    /// HAProxy that is reloaded before each restart.
    HaProxyReload,
    /// Envoy, which asks `/ready/` and repeats nothing.
    Envoy,
    /// Traefik, which asks `/ready/`.
    Traefik,
    /// Traefik, which asks nothing.
    TraefikPassive,
    /// Caddy, which asks `/ready/`.
    Caddy,
    /// Caddy, which asks nothing.
    CaddyPassive,
    /// nginx, whose `proxy_next_upstream` is the default.
    Nginx,
    /// nginx with `proxy_next_upstream off`.
    NginxOff,
}

impl Front {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::HaProxy503,
        Self::HaProxy404,
        Self::HaProxyFar,
        Self::HaProxyReload,
        Self::Envoy,
        Self::Traefik,
        Self::TraefikPassive,
        Self::Caddy,
        Self::CaddyPassive,
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
            Self::HaProxyFar => "haproxy-far",
            Self::HaProxyReload => "haproxy-reload",
            Self::Envoy => "envoy",
            Self::Traefik => "traefik",
            Self::TraefikPassive => "traefik-passive",
            Self::Caddy => "caddy",
            Self::CaddyPassive => "caddy-passive",
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

    /// Whether it asks the backends whether they are ready.
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::HaProxy503
            | Self::HaProxy404
            | Self::HaProxyFar
            | Self::HaProxyReload
            | Self::Envoy
            | Self::Traefik
            | Self::Caddy => true,
            Self::TraefikPassive
            | Self::CaddyPassive
            | Self::Nginx
            | Self::NginxOff
            | Self::Direct
            | Self::DirectH2 => false,
        }
    }

    /// How many processes of it ask the backends whether they are ready, at a time.
    #[must_use]
    pub const fn probers(self) -> u64 {
        match self {
            // The old one and the new one.
            Self::HaProxyReload => 2,
            _ => self.is_active() as u64,
        }
    }

    /// Whether a streamed answer to a POST comes through whole, whoever serves it.
    ///
    /// Behind Traefik one of 43 was cut on a machine of two busy cores, evenly over the run, and
    /// as often with `axum::serve`. Its proxy is Go's `ReverseProxy`, which probably begins the
    /// answer before it has read the end of the request's body, and then fails to read that.
    #[must_use]
    pub const fn carries_posted_streams(self) -> bool {
        !matches!(self, Self::Traefik | Self::TraefikPassive)
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
    /// What stands between it and the backends.
    _network: Vec<Relay>,
    /// Where clients connect, if it is not to the backends.
    pub address: Option<SocketAddr>,
}

#[derive(Debug)]
enum Proxy {
    HaProxy(HaProxy),
    // Kept for its drop, which ends it.
    Nginx(#[allow(dead_code, reason = "its drop ends the process")] Nginx),
    Envoy(Envoy),
    Traefik(Traefik),
    Caddy(Caddy),
}

/// How late the front hears what each of the two backends says, its end included.
const FAR: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(20)];

impl Standing {
    /// Starts a front for two backends. Blocks until it is up.
    ///
    /// # Panics
    /// A program is missing, or a file of `examples/deploy` has lost what is replaced here.
    #[must_use]
    pub fn start(front: Front, backends: [SocketAddr; 2]) -> Self {
        let port = free_port();
        let network = match front {
            Front::HaProxyFar => FAR.iter().zip(backends).map(far).collect(),
            _ => Vec::new(),
        };
        let mut backends = backends;
        for (backend, relay) in backends.iter_mut().zip(&network) {
            *backend = ([127, 0, 0, 1], Relay::port(relay)).into();
        }
        let proxy = match front {
            Front::Direct | Front::DirectH2 => None,
            Front::HaProxy503 | Front::HaProxy404 | Front::HaProxyFar | Front::HaProxyReload => {
                let config = haproxy(port, backends, front == Front::HaProxy404);
                Some(Proxy::HaProxy(HaProxy::start(&config)))
            }
            Front::Nginx | Front::NginxOff => {
                let config = nginx(port, backends, front == Front::NginxOff);
                Some(Proxy::Nginx(Nginx::start(&config)))
            }
            Front::Envoy => {
                let config = envoy(port, backends);
                Some(Proxy::Envoy(Envoy::start(port, &config)))
            }
            Front::Traefik | Front::TraefikPassive => {
                let (config, app) = traefik(port, backends, front.is_active());
                let traefik = Traefik::start(port, &config, &app);
                routes(port);
                Some(Proxy::Traefik(traefik))
            }
            Front::Caddy | Front::CaddyPassive => {
                let config = caddy(port, backends, front.is_active());
                Some(Proxy::Caddy(Caddy::start(port, &config)))
            }
        };
        let address = proxy.is_some().then_some(([127, 0, 0, 1], port).into());
        Self {
            proxy,
            _network: network,
            address,
        }
    }

    /// Reloads the front, if it is one that is reloaded. Blocks until that is done.
    pub fn reload(&mut self, front: Front) {
        if let (Front::HaProxyReload, Some(Proxy::HaProxy(haproxy))) = (front, &mut self.proxy) {
            haproxy.reload();
        }
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
            Some(Proxy::Envoy(envoy)) => envoy.read("log"),
            Some(Proxy::Traefik(traefik)) => traefik.read("log"),
            Some(Proxy::Caddy(caddy)) => caddy.read("log"),
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

fn far((late, backend): (&Duration, SocketAddr)) -> Relay {
    let relay = Relay::start(backend.port());
    relay.delay_answers(*late);
    relay
}

fn envoy(port: u16, backends: [SocketAddr; 2]) -> String {
    let mut config = example("envoy.yaml");
    let listener = "address: 0.0.0.0, port_value: 80 ";
    let ours = format!("address: 127.0.0.1, port_value: {port} ");
    replace(&mut config, listener, &ours);
    for (index, backend) in backends.iter().enumerate() {
        let example = format!("address: 10.0.0.1{}, port_value: 8000", index + 1);
        let ours = format!("address: {}, port_value: {}", backend.ip(), backend.port());
        replace(&mut config, &example, &ours);
    }
    config
}

fn traefik(port: u16, backends: [SocketAddr; 2], active: bool) -> (String, String) {
    let mut config = example("traefik.toml");
    let address = format!("address = \"127.0.0.1:{port}\"");
    replace(&mut config, "address = \":80\"", &address);
    // Where the other file is, whoever starts it says.
    cut_from(&mut config, "[providers.file]");
    let mut app = addressed("traefik-app.toml", backends);
    if !active {
        cut_from(&mut app, "[http.services.app.loadBalancer.healthCheck]");
        replace(&mut app, "# middlewares", "middlewares");
    }
    (config, app)
}

/// Waits until what listens at this port has somewhere to send a request.
fn routes(port: u16) {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /ready/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let began = Instant::now();
    while !ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(began.elapsed() < PATIENCE, "the front sends nobody on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn caddy(port: u16, backends: [SocketAddr; 2], active: bool) -> String {
    let mut config = addressed("Caddyfile", backends);
    replace(&mut config, "http://:80", &format!("http://:{port}"));
    replace(&mut config, "bind 0.0.0.0", "bind 127.0.0.1");
    replace(
        &mut config,
        "# admin off",
        "admin off\n\tpersist_config off",
    );
    if !active {
        replace(&mut config, "# fail_duration", "fail_duration");
        for line in ["health_uri", "health_interval", "health_timeout"] {
            replace(&mut config, line, &format!("# {line}"));
        }
    }
    config
}

/// Leaves out everything from this line on.
fn cut_from(text: &mut String, line: &str) {
    let at = text.find(line);
    text.truncate(at.unwrap_or_else(|| panic!("the example no longer says {line:?}")));
}

fn addressed(file: &str, backends: [SocketAddr; 2]) -> String {
    let mut text = example(file);
    for (index, backend) in backends.iter().enumerate() {
        let example = format!("10.0.0.1{}:8000", index + 1);
        replace(&mut text, &example, &backend.to_string());
    }
    text
}

fn example(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/deploy")
        .join(file);
    let text = fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn replace(text: &mut String, from: &str, to: &str) {
    assert!(text.contains(from), "the example no longer says {from:?}");
    *text = text.replace(from, to);
}
