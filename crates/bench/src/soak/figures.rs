//! What a process holds, and what is printed of it.

use std::{fs, io, time::Duration};

use serde_json::json;

/// What the second half of the generations may have more than the first: a tenth, and what an
/// allocator keeps of its pages. One connection in a hundred that was left behind would be more.
const GROWTH_MAX: f64 = 1.1;
const GROWTH_MAX_KIB: u64 = 2 * 1024;

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) anonymous_kib: u64,
    pub(super) descriptors: usize,
}

impl Usage {
    pub(super) fn of(process: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|it| it.strip_prefix("RssAnon:"));
        let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok());
        let unknown = || io::Error::other("the kernel does not tell how much a process holds");
        Ok(Self {
            anonymous_kib: kib.ok_or_else(unknown)?,
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
        })
    }
}

/// One life of the server, from its start to the end of its drain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generation {
    pub(super) number: u32,
    pub(super) requests: u64,
    pub(super) connections: u64,
    pub(super) hostile: usize,
    /// Requests that crossed the end of their connection: nothing was answered.
    pub(super) crossed: u64,
    /// Answers that were not the ones asked for, or not whole.
    pub(super) unexpected: u64,
    pub(super) cut: u64,
    pub(super) usage: Usage,
}

impl Generation {
    pub(super) fn print(&self, as_json: bool) {
        let Usage {
            anonymous_kib,
            descriptors,
        } = self.usage;
        if as_json {
            let line = json!({
                "bench": "soak", "generation": self.number, "requests": self.requests,
                "connections": self.connections, "hostile": self.hostile,
                "crossed": self.crossed, "unexpected": self.unexpected, "cut": self.cut,
                "memory_kib": anonymous_kib, "descriptors": descriptors,
            });
            println!("{line}");
            return;
        }
        if self.number == 1 {
            println!(
                "| generation | requests | connections | hostile | crossed | unexpected | cut \
                 | memory (KiB) | descriptors |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
            );
        }
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {anonymous_kib} | {descriptors} |",
            self.number,
            self.requests,
            self.connections,
            self.hostile,
            self.crossed,
            self.unexpected,
            self.cut
        );
    }
}

/// Whether nothing is left behind, nothing was cut, and all were answered.
pub(super) fn is_flat(generations: &[Generation]) -> bool {
    let (first, second) = generations.split_at(generations.len() / 2);
    let most = |half: &[Generation]| half.iter().map(|it| it.usage.anonymous_kib).max();
    let (Some(before), Some(after)) = (most(first), most(second)) else {
        return true;
    };
    let bound = (before as f64 * GROWTH_MAX) as u64 + GROWTH_MAX_KIB;
    let mut descriptors = generations.iter().map(|it| it.usage.descriptors);
    let same = descriptors
        .next()
        .is_none_or(|one| descriptors.all(|it| it == one));
    let whole = generations.iter().all(|it| it.cut + it.unexpected == 0);
    after <= bound && same && whole
}

/// What a kind of peers that mean harm did to the server and to the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub(super) name: &'static str,
    pub(super) peers: usize,
    pub(super) before: Usage,
    pub(super) peak: Usage,
    pub(super) after: Usage,
    /// The 99th percentile of others' requests, without and with them.
    pub(super) p99: [Duration; 2],
    /// Requests of others that were not answered, of so many.
    pub(super) unanswered: [usize; 2],
}

impl Met {
    pub(super) const fn came_back(&self) -> bool {
        self.after.descriptors == self.before.descriptors && self.unanswered[0] == 0
    }

    pub(super) fn print(&self, as_json: bool) {
        let [quiet, beside] = self.p99.map(|it| it.as_secs_f64() * 1e3);
        let [unanswered, asked] = self.unanswered;
        let (before, peak, after) = (self.before, self.peak, self.after);
        if as_json {
            let line = json!({
                "bench": "soak", "kind": self.name, "peers": self.peers,
                "others_p99_ms": quiet, "others_p99_ms_beside": beside,
                "others_unanswered": unanswered, "others_asked": asked,
                "memory_kib_before": before.anonymous_kib, "memory_kib_peak": peak.anonymous_kib,
                "memory_kib_after": after.anonymous_kib,
                "descriptors_before": before.descriptors, "descriptors_after": after.descriptors,
            });
            println!("{line}");
            return;
        }
        println!(
            "| {} | {} | {quiet:.2} | {beside:.2} | {unanswered} of {asked} | {} | {} | {} | {} | {} |",
            self.name,
            self.peers,
            before.anonymous_kib,
            peak.anonymous_kib,
            after.anonymous_kib,
            before.descriptors,
            after.descriptors
        );
    }

    pub(super) fn heading() -> &'static str {
        "\n| peers | how many | others' p99 before (ms) | beside them (ms) | unanswered \
         | memory before (KiB) | peak | after | descriptors before | after |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(anonymous_kib: u64, descriptors: usize, cut: u64) -> Generation {
        Generation {
            number: 1,
            requests: 1,
            connections: 1,
            hostile: 0,
            crossed: 0,
            unexpected: 0,
            cut,
            usage: Usage {
                anonymous_kib,
                descriptors,
            },
        }
    }

    #[test]
    fn what_is_left_behind_is_seen() {
        let well = [generation(10_000, 9, 0), generation(11_000, 9, 0)];
        assert!(is_flat(&well));
        assert!(!is_flat(&[well[0], generation(14_000, 9, 0)]), "memory");
        assert!(
            !is_flat(&[well[0], generation(10_000, 10, 0)]),
            "descriptors"
        );
        assert!(!is_flat(&[well[0], generation(10_000, 9, 1)]), "cut");
    }
}
