//! Reads what the surroundings leave the process: its control group and the kernel's
//! pressure files.
//!
//! On a thread of its own ([`Sampler`]), because a read can hang. Whoever takes the sample
//! stamps it, so one that does not change any more grows old and says nothing.
//! Linux only; what is missing or makes no sense is left out.

use std::{
    fs::File,
    io::Read,
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use super::sampler::Sampler;
use steadfast_core::plumbing::{CpuTotals, Memory, ResourceSample, group_path, stalled_total};

/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);

/// Most bytes read of a file; the largest, `memory.stat`, has some kilobytes.
const FILE_MAX: u64 = 64 * 1024;

/// Most groups around ours that are looked at; systemd and Kubernetes nest about eight.
const GROUPS_MAX: usize = 32;

/// The thread that reads. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct CgroupSampler {
    /// The latest sample, and its number.
    sampler: Sampler<(u64, ResourceSample)>,
    /// The number of the sample that was taken last, and when.
    taken: Option<(u64, Instant)>,
}

impl CgroupSampler {
    /// Starts to read, where there is something to read.
    pub(crate) fn start(root: PathBuf) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let sampler = Sampler::start(
            "steadfast-cgroup",
            EVERY,
            move || read(&root),
            |latest: &mut (u64, ResourceSample), sample| *latest = (latest.0 + 1, sample),
        )?;
        Some(Self {
            sampler,
            taken: None,
        })
    }

    /// Returns the latest sample and when it was first seen.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(Instant, ResourceSample)> {
        let (number, sample) = *self.sampler.kept();
        if number == 0 {
            return None;
        }
        let at = match self.taken {
            Some((known, at)) if known == number => at,
            _ => now,
        };
        self.taken = Some((number, at));
        Some((at, sample))
    }
}

/// Reads everything once. `root` is `/`, but for tests.
fn read(root: &Path) -> ResourceSample {
    let groups = text(&root.join("proc/self/cgroup")).unwrap_or_default();
    let mounted = root.join("sys/fs/cgroup");
    let of = |base: PathBuf, controller: Option<&str>| {
        group_path(&groups, controller).map_or_else(Vec::new, |path| around(&base, path))
    };
    let unified = of(mounted.clone(), None);
    let v1_memory = of(mounted.join("memory"), Some("memory"));
    let v1_cpu = of(mounted.join("cpu"), Some("cpu"));
    let v1_used = of(mounted.join("cpuacct"), Some("cpuacct"));

    let v2 = |group: &PathBuf| {
        Memory::parse(
            &text(&group.join("memory.current"))?,
            &text(&group.join("memory.max"))?,
            &text(&group.join("memory.stat")).unwrap_or_default(),
        )
    };
    let v1 = |group: &PathBuf| {
        Memory::parse(
            &text(&group.join("memory.usage_in_bytes"))?,
            &text(&group.join("memory.limit_in_bytes"))?,
            &text(&group.join("memory.stat")).unwrap_or_default(),
        )
    };
    // Whichever group around ours is fullest: the kernel kills in it.
    let memories = unified.iter().filter_map(v2);
    let memories = memories.chain(v1_memory.iter().filter_map(v1));

    let mut sample = ResourceSample::default();
    sample.memory = memories.max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    sample.cpu = cpu_v2(&unified).or_else(|| cpu_v1(&v1_cpu, &v1_used));
    sample.stalled = ["cpu", "memory", "io"].map(|of| {
        let ours = unified
            .first()
            .map(|group| group.join(format!("{of}.pressure")));
        let ours = ours.and_then(|file| text(&file));
        let whole = || text(&root.join("proc/pressure").join(of));
        stalled_total(&ours.or_else(whole)?)
    });
    sample
}

/// Our group's time, with the smallest quota on the way up.
fn cpu_v2(groups: &[PathBuf]) -> Option<CpuTotals> {
    let each = groups.iter().filter_map(|group| {
        let quota = text(&group.join("cpu.max")).unwrap_or_default();
        CpuTotals::parse(&text(&group.join("cpu.stat"))?, &quota, "")
    });
    tightest(each)
}

fn cpu_v1(groups: &[PathBuf], used: &[PathBuf]) -> Option<CpuTotals> {
    let used = used
        .iter()
        .find_map(|group| text(&group.join("cpuacct.usage")));
    let used = used.unwrap_or_default();
    let each = groups.iter().filter_map(|group| {
        let quota = text(&group.join("cpu.cfs_quota_us")).unwrap_or_default();
        let period = text(&group.join("cpu.cfs_period_us")).unwrap_or_default();
        let quota = format!("{} {}", quota.trim(), period.trim());
        CpuTotals::parse(&text(&group.join("cpu.stat"))?, &quota, &used)
    });
    tightest(each)
}

fn tightest(mut each: impl Iterator<Item = CpuTotals>) -> Option<CpuTotals> {
    let ours = each.next()?;
    Some(each.fold(ours, |mut ours, around| {
        let smaller = |quota: f64| ours.quota_cpus.is_none_or(|known| quota < known);
        if let Some(quota) = around.quota_cpus.filter(|quota| smaller(*quota)) {
            // Whose quota it is, theirs is the throttling.
            ours.quota_cpus = Some(quota);
            (ours.periods, ours.throttled) = (around.periods, around.throttled);
        }
        ours
    }))
}

/// Our group and those around it, ours first. In a container the path is `/`, or one of the
/// host's that does not exist here; then only the mounted one does.
fn around(base: &Path, path: &str) -> Vec<PathBuf> {
    let named = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let ours = base.join(named.collect::<PathBuf>());
    let up = ours.ancestors().take_while(|group| group.starts_with(base));
    let there = up.filter(|group| group.is_dir());
    there.take(GROUPS_MAX).map(Path::to_path_buf).collect()
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is taken away again.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("steadfast-cgroup-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, words) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
            std::fs::write(path, words).expect("a file");
        }
    }

    #[test]
    fn in_v2_the_fullest_group_around_ours_counts() {
        let root = Folder::new("v2");
        let group = "sys/fs/cgroup/kubepods/pod1/shop";
        write(
            &root.0,
            &[
                ("proc/self/cgroup", "0::/kubepods/pod1/shop\n"),
                (&format!("{group}/memory.current"), "500\n"),
                (&format!("{group}/memory.max"), "max\n"),
                ("sys/fs/cgroup/kubepods/pod1/memory.current", "900\n"),
                ("sys/fs/cgroup/kubepods/pod1/memory.max", "1000\n"),
                (
                    "sys/fs/cgroup/kubepods/pod1/memory.stat",
                    "inactive_file 100\n",
                ),
                ("sys/fs/cgroup/kubepods/memory.current", "900\n"),
                ("sys/fs/cgroup/kubepods/memory.max", "5000\n"),
                (&format!("{group}/cpu.stat"), "usage_usec 7\nnr_periods 1\n"),
                (&format!("{group}/cpu.max"), "max 100000\n"),
                (
                    "sys/fs/cgroup/kubepods/pod1/cpu.stat",
                    "usage_usec 9\nnr_periods 5\nnr_throttled 2\n",
                ),
                ("sys/fs/cgroup/kubepods/pod1/cpu.max", "50000 100000\n"),
                ("proc/pressure/cpu", "some avg10=0.00 total=5\n"),
                (
                    &format!("{group}/cpu.pressure"),
                    "some avg10=0.00 total=3\n",
                ),
                ("proc/pressure/io", "nonsense"),
            ],
        );
        let sample = read(&root.0);
        let memory = sample.memory.expect("a limit");
        assert_eq!((memory.used, memory.limit), (800, 1000));
        let cpu = sample.cpu.expect("a group");
        assert_eq!(cpu.used, Some(Duration::from_micros(7)));
        assert_eq!(
            (cpu.periods, cpu.throttled, cpu.quota_cpus),
            (5, 2, Some(0.5))
        );
        assert_eq!(sample.stalled, [Some(Duration::from_micros(3)), None, None]);
    }

    #[test]
    fn in_v1_each_controller_has_its_own_tree_and_a_container_sees_only_its_root() {
        let root = Folder::new("v1");
        write(
            &root.0,
            &[
                (
                    "proc/self/cgroup",
                    "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n",
                ),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "700"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000"),
                (
                    "sys/fs/cgroup/memory/memory.stat",
                    "total_inactive_file 50\n",
                ),
                (
                    "sys/fs/cgroup/cpu/cpu.stat",
                    "nr_periods 8\nnr_throttled 4\n",
                ),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpuacct/cpuacct.usage", "1000\n"),
            ],
        );
        let sample = read(&root.0);
        let memory = sample.memory.expect("a limit");
        assert_eq!((memory.used, memory.limit), (650, 1000));
        let cpu = sample.cpu.expect("a group");
        assert_eq!((cpu.throttled, cpu.quota_cpus), (4, Some(2.0)));
        assert_eq!(cpu.used, Some(Duration::from_micros(1)));
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_left_out() {
        let root = Folder::new("odd");
        assert_eq!(read(&root.0), ResourceSample::default());
        write(
            &root.0,
            &[
                ("proc/self/cgroup", "0::/../../x\n\n:::\nmemory"),
                ("sys/fs/cgroup/memory.current", "-4"),
                ("sys/fs/cgroup/memory.max", "1e9"),
                ("sys/fs/cgroup/cpu.stat", "usage_usec\n"),
                ("sys/fs/cgroup/cpu.max", ""),
            ],
        );
        assert_eq!(read(&root.0), ResourceSample::default());
    }

    #[test]
    fn this_machine_can_be_read() {
        let sample = read(Path::new("/"));
        assert!(sample.memory.is_none_or(|memory| memory.limit > 0));
    }

    #[test]
    fn a_sample_that_stays_the_same_keeps_the_moment_at_which_it_was_new() {
        let mut sampler = CgroupSampler {
            sampler: Sampler::still(),
            taken: None,
        };
        let now = crate::clock::now();
        assert_eq!(sampler.take(now), None, "nothing was read yet");
        sampler.sampler.kept().0 = 1;
        for seconds in 0..3 {
            let taken = sampler.take(now + Duration::from_secs(seconds));
            assert_eq!(taken.expect("one").0, now);
        }
        sampler.sampler.kept().0 = 2;
        let later = now + Duration::from_secs(9);
        assert_eq!(sampler.take(later).expect("another").0, later);
    }
}
