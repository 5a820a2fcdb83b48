//! Varnish: `varnishadm`, which knows the secret and the door.

pub(super) mod backends;

use std::process::Stdio;

use steadfast_diagnosis::{Id, Maker, Proxy, ServerIs, Tied};
use tokio::{io::AsyncReadExt, process::Command};

use super::{ANSWER_WAIT, Next, found::Found, servers::Servers};
use crate::collect::{Collected, Job};

/// Most bytes of an answer.
const ANSWER_MAX: u64 = 1024 * 1024;

/// Looks at the backends, and at the VCL that answers by itself.
pub(crate) async fn look(job: &Job<'_>, proxy: &Found, port: u16, seen: &mut Collected) -> Next {
    let list = match ask(job, proxy, &["backend.list", "-j"]).await {
        Ok(text) => backends::backends(&text),
        Err(why) => {
            let reason = format!("varnishadm backend.list: {why}");
            seen.could_not(
                Id::VarnishBackend,
                &reason,
                "run as root, who may read Varnish's secret",
            );
            return Next::new();
        }
    };
    let by = Maker::Varnish;
    let of = Servers {
        by,
        source: "varnishadm backend.list",
        tied: Tied::backend("varnish"),
    };
    for backend in &list {
        let is = match (backend.healthy, backend.is_forced, backend.is_probed) {
            (_, true, _) => ServerIs::Maintenance,
            (false, ..) => ServerIs::Down,
            (true, _, false) => ServerIs::Unchecked,
            (true, ..) => ServerIs::Up,
        };
        let last_check = if backend.is_probed {
            format!("{} probes passed", backend.probes)
        } else {
            String::new()
        };
        of.server(backend.name.as_str(), is, last_check, seen);
    }
    let healthy = list.iter().filter(|it| it.healthy);
    of.serves(healthy.count(), list.len(), seen);
    let Some((name, vcl)) = active(job, proxy).await else {
        return Next::new();
    };
    for (line, text) in answers(&vcl) {
        let (at, rule) = (format!("{name}, line {line}").into(), text.into());
        seen.saw(
            "varnishadm vcl.show",
            Tied::Port(port),
            Proxy::Rule { by, at, rule },
        );
    }
    addresses(&vcl)
}

/// The lines of a program that answer 503 by themselves. Which of them a request meets is known
/// to Varnish alone.
fn answers(vcl: &str) -> Vec<(usize, &str)> {
    let lines = vcl.lines().enumerate();
    let found = lines.filter(|(_, line)| {
        let code = line.split(['#']).next().unwrap_or_default();
        let code = code.split("//").next().unwrap_or_default();
        code.replace(' ', "").contains("synth(503")
    });
    found.map(|(at, line)| (at + 1, line.trim())).collect()
}

/// The active program: its name and its text.
async fn active(job: &Job<'_>, proxy: &Found) -> Option<(String, String)> {
    let list = ask(job, proxy, &["vcl.list"]).await.ok()?;
    let line = list.lines().find(|line| line.starts_with("active"))?;
    let name = line.split_whitespace().last()?.to_owned();
    let text = ask(job, proxy, &["vcl.show", &name]).await.ok()?;
    Some((name, text))
}

/// `host:port` of each backend of the program.
pub(super) fn addresses(vcl: &str) -> Next {
    let value = |block: &str, name: &str| {
        let (_, rest) = block.split_once(&format!(".{name}"))?;
        let rest = rest.trim_start().strip_prefix('=')?.trim_start();
        Some(rest.strip_prefix('"')?.split('"').next()?.to_owned())
    };
    let blocks = vcl.split("backend ").skip(1);
    let blocks =
        blocks.filter_map(|it| Some(it.split_once('{')?.1.split("sub ").next()?.to_owned()));
    let mut all: Next = blocks
        .filter_map(|block| {
            let host = value(&block, "host")?;
            let port = value(&block, "port").unwrap_or_else(|| "80".to_owned());
            Some(format!("{host}:{port}"))
        })
        .collect();
    all.dedup();
    all
}

/// Runs `varnishadm`, which asks and changes nothing with these words.
async fn ask(job: &Job<'_>, proxy: &Found, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("varnishadm");
    if let Some(name) = proxy.arg("-n") {
        command.arg("-n").arg(proxy.path(name));
    }
    command
        .args(["-t", "2"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let asked = async {
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        if let Some(out) = child.stdout.take() {
            let read = out.take(ANSWER_MAX).read_to_end(&mut text).await;
            read.map_err(|error| error.to_string())?;
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() {
            Ok(String::from_utf8_lossy(&text).into_owned())
        } else {
            Err(format!("it ended with {status}"))
        }
    };
    let answered = job.bounded(ANSWER_WAIT, asked).await;
    answered.unwrap_or_else(|| Err("no answer in time".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backends_of_a_program_are_found() {
        let vcl = r#"vcl 4.1; backend app { .host="127.0.0.1"; .port = "1"; .probe = { .url="/ready/"; } }
            backend other { .host = "a.example"; } sub vcl_recv { if (req.url) { return (synth(503, "x")); } }"#;
        assert_eq!(addresses(vcl), ["127.0.0.1:1", "a.example:80"]);
        assert_eq!(answers(&vcl.replace("sub", "\nsub"))[0].0, 3);
        assert!(answers("# synth(503)\n// synth (503)\nsynth(200)").is_empty());
        assert!(addresses("").is_empty());
        assert!(addresses("backend x").is_empty());
    }
}
