//! Traefik: its API.

pub(super) mod api;

use regex::Regex;
use steadfast_diagnosis::{Id, Maker, Proxy, ServerIs, Tied};

use super::{Next, asked::Asked, files::Disk, found::Found, servers::Servers, text};
use crate::{
    collect::{Collected, Job},
    target::Target,
};
use api::Service;

/// Where the API is if nobody chose another place.
const PORT: u16 = 8080;

/// Looks at the service that the request meets; where it cannot be told, at all of them.
pub(crate) async fn look(
    job: &Job<'_>,
    proxy: &Found,
    asked: &Asked,
    seen: &mut Collected,
) -> Next {
    let remedy =
        "switch `api.insecure` on for the loopback, or give --traefik-api http://127.0.0.1:8080";
    let Some(admin) = admin_of(job, proxy) else {
        seen.could_not(Id::TraefikNoServer, "Traefik's API was not found", remedy);
        return Next::new();
    };
    let services = match text(job, &admin, "/api/http/services").await {
        Ok(text) => api::services(&text),
        Err(why) => {
            seen.could_not(
                Id::TraefikNoServer,
                &format!("Traefik's API at {admin}: {why}"),
                remedy,
            );
            return Next::new();
        }
    };
    let routers = text(job, &admin, "/api/http/routers")
        .await
        .unwrap_or_default();
    let entrypoints = text(job, &admin, "/api/entrypoints")
        .await
        .unwrap_or_default();
    let (router, is_unsure) = api::router(&routers, &entrypoints, asked);
    let source = format!("{admin}, api/http/services");
    let mut next = Next::new();
    for service in services.iter().filter(|it| it.is_balancer) {
        let met = router
            .as_ref()
            .is_some_and(|router| router.service == service.name);
        if met || is_unsure {
            write(&source, service, seen);
            next.extend(service.servers.iter().filter_map(|(url, _)| address(url)));
        }
    }
    next
}

fn write(source: &str, service: &Service, seen: &mut Collected) {
    let by = Maker::Traefik;
    let of = Servers {
        by,
        source,
        tied: Tied::backend(&service.name),
    };
    if let Some((path, expects)) = &service.check {
        let (path, expects) = (path.as_str().into(), expects.as_str().into());
        seen.saw(
            source,
            of.tied.clone(),
            Proxy::CheckPath { by, path, expects },
        );
    }
    for (url, up) in &service.servers {
        let is = if *up { ServerIs::Up } else { ServerIs::Down };
        of.server(url.as_str(), is, service.errors.join(", "), seen);
    }
    let serving = service.servers.iter().filter(|it| it.1).count();
    of.serves(serving, service.servers.len(), seen);
}

/// `host:port` of a URL.
fn address(url: &str) -> Option<String> {
    let target = Target::parse(url).ok()?;
    let host = &target.host;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    Some(format!("{host}:{}", target.port))
}

/// Where the API is: a flag, the entry point of this name in arguments or file, or the usual port.
fn admin_of(job: &Job<'_>, proxy: &Found) -> Option<Target> {
    if let Some(given) = &job.options.traefik_api {
        return Some(given.clone());
    }
    let disk = Disk {
        root: String::new(),
    };
    let file = proxy.args.iter().find_map(|arg| {
        let (name, path) = arg.split_once('=')?;
        name.trim_start_matches('-')
            .eq_ignore_ascii_case("configfile")
            .then_some(path)
    });
    let file = file
        .or_else(|| proxy.arg("--configFile"))
        .or_else(|| proxy.arg("--configfile"));
    let file = file.and_then(|path| disk.text(&proxy.path(path)).ok());
    let texts = [Some(proxy.args.join("\n")), file];
    let named = texts
        .into_iter()
        .flatten()
        .find_map(|text| entrypoint(&text));
    let usual = proxy.ports.contains(&PORT).then_some(PORT);
    let port = named.filter(|port| proxy.ports.contains(port)).or(usual)?;
    Target::parse(&format!("http://127.0.0.1:{port}")).ok()
}

/// The port of the entry point `traefik` in arguments, TOML or YAML.
fn entrypoint(text: &str) -> Option<u16> {
    let pattern =
        r#"(?i)traefik(?:\.address|\]|\]?"?:)?\s*(?:address)?\s*[=:]?\s*"?[^\s"=]*:(\d{1,5})"#;
    let found = Regex::new(pattern).ok()?.captures(text)?;
    found.get(1)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_point_of_the_api_is_found() {
        for (text, port) in [
            (
                "--entrypoints.web.address=:80\n--entrypoints.traefik.address=:8084",
                Some(8084),
            ),
            (
                "[entryPoints.web]\naddress=\":80\"\n[entryPoints.traefik]\naddress = \"127.0.0.1:8085\"\n",
                Some(8085),
            ),
            (
                "entryPoints:\n  web:\n    address: \":80\"\n  traefik:\n    address: \":8086\"\n",
                Some(8086),
            ),
            ("[entryPoints.web]\naddress=\":80\"", None),
        ] {
            assert_eq!(entrypoint(text), port, "{text}");
        }
        assert_eq!(
            address("http://127.0.0.1:1").as_deref(),
            Some("127.0.0.1:1")
        );
    }
}
