//! Apache's `server-status?auto` and `balancer-manager`: how the workers are, its own and those it
//! passes requests on to.

use std::collections::BTreeMap;

/// Most bytes of a page that are looked at for workers.
const CELLS_MAX: usize = 4096;

/// A server that requests are passed on to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Worker {
    /// `balancer://app`.
    pub(crate) balancer: String,
    pub(crate) url: String,
    /// Apache's flags: `Init Ok`, `Init Err`, `Init Dis`.
    pub(crate) flags: String,
}

impl Worker {
    /// Whether requests go to it.
    pub(crate) fn serves(&self) -> bool {
        let flags = self.flags.split_whitespace();
        !flags
            .clone()
            .any(|flag| matches!(flag, "Err" | "Dis" | "Stop" | "Drn" | "HcFl" | "SpareStop"))
    }

    /// Whether an operator took it out.
    pub(crate) fn is_taken_out(&self) -> bool {
        let mut flags = self.flags.split_whitespace();
        flags.any(|flag| matches!(flag, "Dis" | "Stop" | "Drn"))
    }
}

/// What the status page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) busy: u64,
    pub(crate) idle: u64,
    /// Places for workers that could still be started.
    pub(crate) open: u64,
    /// Balancers' workers, if `ProxyStatus On` shows them.
    pub(crate) workers: Vec<Worker>,
}

/// Reads `server-status?auto`; `None` if it is none.
pub(crate) fn status(text: &str) -> Option<Status> {
    let fields: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    let number = |name: &str| fields.get(name).and_then(|it| it.trim().parse().ok());
    let mut workers = Vec::new();
    for (balancer, balancer_name) in (0..).map_while(|at| {
        let name = fields.get(format!("ProxyBalancer[{at}]Name").as_str())?;
        Some((at, *name))
    }) {
        let field = |worker: usize, what: &str| {
            let name = format!("ProxyBalancer[{balancer}]Worker[{worker}]{what}");
            fields.get(name.as_str()).map(|it| (*it).trim().to_owned())
        };
        let all = (0..).map_while(|worker| {
            Some(Worker {
                balancer: balancer_name.trim().to_owned(),
                url: field(worker, "Name")?,
                flags: field(worker, "Status").unwrap_or_default(),
            })
        });
        workers.extend(all.take(CELLS_MAX));
    }
    Some(Status {
        busy: number("BusyWorkers")?,
        idle: number("IdleWorkers")?,
        open: fields
            .get("Scoreboard")
            .map_or(0, |it| it.matches('.').count() as u64),
        workers,
    })
}

/// Reads the page of `balancer-manager`: the rows under each balancer's heading.
pub(crate) fn balancers(page: &str) -> Vec<Worker> {
    let mut workers = Vec::new();
    // What is before the first heading belongs to no balancer.
    for part in page.split("LoadBalancer Status for").skip(1) {
        let balancer = between(part, ">", "<").unwrap_or_default();
        for row in part.split("<tr>").skip(1) {
            let cells: Vec<_> = row.split("<td>").skip(1).take(CELLS_MAX).collect();
            // URL, route, redirect, factor, set, status, elected, …
            let (Some(url), Some(status)) = (cells.first(), cells.get(5)) else {
                continue;
            };
            let Some(url) = between(url, ">", "<").filter(|it| it.contains("://")) else {
                continue;
            };
            workers.push(Worker {
                balancer: balancer.to_owned(),
                url: url.to_owned(),
                flags: status
                    .split('<')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
            });
        }
    }
    workers
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(begin)?;
    Some(after.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTO: &str = "localhost\nServerVersion: Apache/2.4.71\nBusyWorkers: 1\nIdleWorkers: 74\n\
        Scoreboard: ___W_....\nProxyBalancer[0]Name: balancer://app\n\
        ProxyBalancer[0]Worker[0]Name: http://127.0.0.1:1\nProxyBalancer[0]Worker[0]Status: Init Err \n\
        ProxyBalancer[0]Worker[1]Name: http://127.0.0.1:2\nProxyBalancer[0]Worker[1]Status: Init Dis \n\
        ProxyBalancer[0]Worker[2]Name: http://127.0.0.1:3\nProxyBalancer[0]Worker[2]Status: Init Ok \n";

    #[test]
    fn workers_are_read_from_the_status_page() {
        let found = status(AUTO).expect("a status");
        assert_eq!((found.busy, found.idle, found.open), (1, 74, 4));
        let serve: Vec<_> = found
            .workers
            .iter()
            .map(|it| (it.serves(), it.is_taken_out()))
            .collect();
        assert_eq!(serve, [(false, false), (false, true), (true, false)]);
        assert_eq!(status("<html>"), None);
    }

    #[test]
    fn workers_are_read_from_the_manager() {
        let page = r#"<h3>LoadBalancer Status for <a href="/balancer-manager?b=app&amp;nonce=x">balancer://app</a> [p_app]</h3>
<table><tr><th>MaxMembers</th></tr>
<tr><td>2 [2 Used]</td>
<td> (None) </td><td>Off</td>
<td>0</td><td>1</td>
<td>byrequests</td>
<td>/</td>
</tr></table><table><tr><th>Worker URL</th></tr>
<tr>
<td><a href="/balancer-manager?b=app&amp;w=http://127.0.0.1:1">http://127.0.0.1:1</a></td><td></td><td></td><td>1.00</td><td>0</td><td>Init Err </td><td>1</td></tr>"#;
        let found = balancers(page);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].url.as_str(), found[0].flags.as_str()),
            ("http://127.0.0.1:1", "Init Err")
        );
        assert_eq!(found[0].balancer, "balancer://app");
        assert!(balancers("<html><tr><td>x").is_empty());
    }
}
