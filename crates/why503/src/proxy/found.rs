//! Which proxies are on this host, and how they were started.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use steadfast_diagnosis::Maker;

use crate::collect::Job;

/// Most bytes of a command line that are read.
const ARGUMENTS_MAX: usize = 64 * 1024;

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) maker: Maker,
    /// The process that was started with the arguments; `None` if only a flag names the proxy.
    pub(crate) pid: Option<u32>,
    /// Its arguments, the program left out.
    pub(crate) args: Vec<String>,
    /// Ports that it listens at.
    pub(crate) ports: Vec<u16>,
    /// What comes before a path of it: `/proc/PID/root` in a container, else nothing.
    pub(crate) root: String,
    /// Its working directory.
    pub(crate) cwd: String,
}

impl Found {
    /// The argument after this one, or after `name=`.
    pub(crate) fn arg<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All of them.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let args = self.args.iter().enumerate();
        args.filter_map(move |(at, arg)| {
            if arg == name {
                return self.args.get(at + 1).map(String::as_str);
            }
            arg.strip_prefix(name)?.strip_prefix('=')
        })
    }

    /// A path as the proxy means it, as seen from here.
    pub(crate) fn path(&self, path: &str) -> String {
        if path.starts_with('/') {
            format!("{}{path}", self.root)
        } else {
            format!("{}{}/{path}", self.root, self.cwd)
        }
    }
}

/// The proxies that listen at a port.
pub(crate) fn at_port(job: &Job<'_>, port: u16) -> Vec<Found> {
    let listeners = &job.found.listeners;
    let mut found: BTreeMap<u32, Found> = BTreeMap::new();
    for listener in listeners
        .iter()
        .filter(|it| it.addr.port() == port && port != 0)
    {
        for pid in &listener.pids {
            let Some(maker) = maker(*pid) else { continue };
            let (starter, args) = started(*pid);
            found.entry(starter).or_insert_with(|| {
                let owned = listeners.iter().filter(|it| it.pids.contains(pid));
                let mut ports: Vec<u16> = owned.map(|it| it.addr.port()).collect();
                ports.sort_unstable();
                ports.dedup();
                Found {
                    maker,
                    pid: Some(starter),
                    args,
                    ports,
                    root: root(*pid),
                    cwd: link(*pid, "cwd"),
                }
            });
        }
    }
    found.into_values().collect()
}

/// The proxies that flags name.
pub(crate) fn given(job: &Job<'_>) -> Vec<Found> {
    let options = job.options;
    let named = [
        (
            Maker::Haproxy,
            options.haproxy_socket.is_some() || options.haproxy_config.is_some(),
        ),
        (Maker::Nginx, options.nginx_config.is_some()),
        (Maker::Envoy, options.envoy_admin.is_some()),
        (Maker::Traefik, options.traefik_api.is_some()),
        (Maker::Caddy, options.caddy_admin.is_some()),
        (Maker::Apache, options.apache_status.is_some()),
    ];
    let named = named.into_iter().filter(|it| it.1);
    named
        .map(|(maker, _)| Found {
            maker,
            pid: None,
            args: Vec::new(),
            ports: Vec::new(),
            root: String::new(),
            cwd: "/".to_owned(),
        })
        .collect()
}

fn maker(pid: u32) -> Option<Maker> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim_end() {
        "haproxy" => Some(Maker::Haproxy),
        "nginx" | "openresty" => Some(Maker::Nginx),
        "nginx-ingress-c" => Some(Maker::IngressNginx),
        "envoy" | "pilot-agent" => Some(Maker::Envoy),
        "traefik" => Some(Maker::Traefik),
        "caddy" => Some(Maker::Caddy),
        "apache2" | "httpd" => Some(Maker::Apache),
        "varnishd" | "cache-main" | "vcache" => Some(Maker::Varnish),
        // A thread may be named after its work (`wrk:worker_0`), so the program decides.
        _ => match Path::new(&link(pid, "exe")).file_name()?.to_str()? {
            "envoy" => Some(Maker::Envoy),
            "varnishd" => Some(Maker::Varnish),
            _ => None,
        },
    }
}

/// The process that has the arguments: the first parent of the same program, or the one whose
/// title still shows them.
fn started(pid: u32) -> (u32, Vec<String>) {
    let mut last = (pid, arguments(pid));
    let exe = link(pid, "exe");
    let mut next = parent(pid);
    for _ in 0..4 {
        let Some(pid) = next.filter(|pid| *pid > 1 && !exe.is_empty() && link(*pid, "exe") == exe)
        else {
            break;
        };
        last = (pid, arguments(pid));
        next = parent(pid);
    }
    last
}

fn arguments(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let bytes = &bytes[..bytes.len().min(ARGUMENTS_MAX)];
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    // nginx writes its title over its arguments, with spaces between them.
    if let Some((_, rest)) = text.split_once("master process ") {
        return rest.split_whitespace().skip(1).map(str::to_owned).collect();
    }
    text.split('\0').skip(1).map(str::to_owned).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn link(pid: u32, name: &str) -> String {
    let target = fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
    target.to_string_lossy().into_owned()
}

/// Where its root directory is; nothing if it is ours, so that links stay as they are.
fn root(pid: u32) -> String {
    let theirs = format!("/proc/{pid}/root");
    let place = |path: &str| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    if place(&theirs).is_some() && place(&theirs) != place("/") {
        theirs
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_in_both_forms() {
        let proxy = Found {
            maker: Maker::Caddy,
            pid: None,
            args: ["run", "--config", "a", "-f=b", "-f", "c"]
                .map(str::to_owned)
                .into(),
            ports: Vec::new(),
            root: "/proc/7/root".to_owned(),
            cwd: "/srv".to_owned(),
        };
        assert_eq!(proxy.arg("--config"), Some("a"));
        assert_eq!(proxy.all("-f").collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(proxy.arg("run2"), None);
        assert_eq!(proxy.path("x"), "/proc/7/root/srv/x");
        assert_eq!(proxy.path("/x"), "/proc/7/root/x");
    }

    #[test]
    fn this_process_is_no_proxy_and_has_arguments() {
        let pid = std::process::id();
        assert_eq!(maker(pid), None);
        assert_eq!(root(pid), "");
        assert!(parent(pid).is_some());
    }
}
