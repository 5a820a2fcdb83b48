//! Reads what the host leaves the process beside its control group: descriptors, room on the
//! file systems it writes to, and whether the wall clock was set.
//!
//! On a thread of its own, and not on the one that reads the control group, because asking a
//! file system whose server is gone hangs. Descriptors and file systems on Linux only.

use std::time::{Duration, Instant, SystemTime};

use super::sampler::Sampler;
use crate::{
    clock,
    instance::around::{ClockStep, HostLook},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// By how much the wall clock has to move against the monotonic one between two looks to have
/// been set. A time service that corrects it slowly moves it by half a millisecond.
const STEP_MIN: Duration = Duration::from_secs(1);

/// The thread that reads. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct HostSampler(Sampler<Latest>);

/// What the thread found and nobody has taken yet.
#[derive(Debug, Default)]
struct Latest {
    look: Option<HostLook>,
    step: Option<ClockStep>,
}

impl HostSampler {
    /// Starts to read.
    pub(crate) fn start() -> Option<Self> {
        let mut clocks = Clocks::new(clock::both());
        let mut places = own::Places::default();
        let read = move || (clocks.step(clock::both()), places.look());
        Sampler::start(
            "steadfast-host",
            EVERY,
            read,
            |latest: &mut Latest, found| {
                latest.step = found.0.or(latest.step);
                latest.look = Some(found.1);
            },
        )
        .map(Self)
    }

    /// Returns what was found since it was asked last.
    pub(crate) fn take(&self) -> (Option<HostLook>, Option<ClockStep>) {
        let mut latest = self.0.kept();
        (latest.look.take(), latest.step.take())
    }
}

/// The two clocks at the last look.
struct Clocks((SystemTime, Instant));

impl Clocks {
    const fn new(both: (SystemTime, Instant)) -> Self {
        Self(both)
    }

    /// Returns by how much one has moved against the other, if somebody set it.
    fn step(&mut self, both: (SystemTime, Instant)) -> Option<ClockStep> {
        let (wall, moment) = both;
        let (wall_before, moment_before) = std::mem::replace(&mut self.0, both);
        let expected = wall_before + moment.saturating_duration_since(moment_before);
        let (by, backwards) = match wall.duration_since(expected) {
            Ok(ahead) => (ahead, false),
            Err(behind) => (behind.duration(), true),
        };
        (by >= STEP_MIN).then_some(ClockStep { by, backwards })
    }
}

#[cfg(not(target_os = "linux"))]
mod own {
    use crate::instance::around::HostLook;

    /// Nothing is known of them here.
    #[derive(Default)]
    pub(super) struct Places;

    impl Places {
        pub(super) fn look(&mut self) -> HostLook {
            HostLook::default()
        }
    }
}

#[cfg(target_os = "linux")]
mod own {
    use std::{
        collections::BTreeSet,
        fs,
        os::unix::fs::MetadataExt,
        path::{Path, PathBuf},
    };

    use rustix::fs::{StatVfsMountFlags, statvfs};

    use crate::instance::around::{DISKS_MAX, Disk, HostLook};

    /// Looks between two searches for what the process writes to.
    const SEARCH_EVERY: u32 = 30;

    /// Descriptors that are looked at in a search. Those of databases and logs are opened
    /// early, so they have low numbers.
    const SEARCHED_MAX: usize = 256;

    /// Where the process writes.
    #[derive(Default)]
    pub(super) struct Places {
        looks: u32,
        known: Vec<PathBuf>,
    }

    impl Places {
        pub(super) fn look(&mut self) -> HostLook {
            if self.looks % SEARCH_EVERY == 0 {
                self.known = places();
            }
            self.looks = self.looks.wrapping_add(1);
            HostLook {
                descriptors: descriptors(),
                disks: self.known.iter().filter_map(|at| disk(at)).collect(),
            }
        }
    }

    fn descriptors() -> Option<(u64, u64)> {
        let max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
        let directory = Path::new("/proc/self/fd");
        // The directory knows its count since Linux 6.2, and says zero before.
        let count = fs::metadata(directory).ok()?.len();
        let count = match count {
            // Without the one that reads them.
            0 => (fs::read_dir(directory).ok()?.count() as u64).saturating_sub(1),
            count => count,
        };
        Some((count, max))
    }

    /// The directory that the process is in, and a file on each file system that it has open
    /// to write: its database, its log, its history.
    fn places() -> Vec<PathBuf> {
        let mut places: Vec<PathBuf> = std::env::current_dir().into_iter().collect();
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            let written = open.flatten().take(SEARCHED_MAX).filter_map(|it| {
                let info = Path::new("/proc/self/fdinfo").join(it.file_name());
                let writes = writes(&fs::read_to_string(info).ok()?)?;
                let path = fs::read_link(it.path()).ok()?;
                (writes && path.is_file()).then_some(path)
            });
            places.extend(
                written.filter(|path| !path.starts_with("/dev") && !path.starts_with("/proc")),
            );
        }
        let mut known = BTreeSet::new();
        places.retain(|path| fs::metadata(path).is_ok_and(|it| known.insert(it.dev())));
        places.truncate(DISKS_MAX);
        places
    }

    /// Whether a descriptor was opened to write, by the octal `flags` of its `fdinfo` (proc(5)).
    fn writes(info: &str) -> Option<bool> {
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
        Some(flags & 0o3 != 0)
    }

    fn disk(at: &Path) -> Option<Disk> {
        let seen = statvfs(at).ok()?;
        // What nobody can write to is always full.
        if seen.f_blocks == 0 || seen.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return None;
        }
        Some(Disk {
            at: at.display().to_string(),
            blocks: seen.f_blocks,
            blocks_free: seen.f_bavail,
            bytes_free: seen.f_bavail.saturating_mul(seen.f_frsize),
            inodes: seen.f_files,
            inodes_free: seen.f_favail,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_the_process_has_open_to_write_is_looked_at() {
            let directory = std::env::temp_dir();
            let path = directory.join(format!("steadfast-host-{}", std::process::id()));
            let file = fs::File::create(&path).expect("a file");
            let look = Places::default().look();
            let dev = file.metadata().expect("open").dev();
            drop(file);
            fs::remove_file(&path).expect("it was there");
            let devices = look.disks.iter().filter_map(|it| fs::metadata(&it.at).ok());
            let devices: Vec<_> = devices.map(|it| it.dev()).collect();
            let here = std::env::current_dir()
                .and_then(fs::metadata)
                .expect("here")
                .dev();
            assert!(dev == here || devices.len() >= 2, "{look:?}");
            assert!(look.disks.iter().all(|it| it.bytes_free > 0), "{look:?}");
            let (used, max) = look.descriptors.expect("Linux");
            assert!((3..max).contains(&used), "{used} of {max}");
        }

        #[test]
        fn a_descriptor_says_whether_it_writes() {
            for (flags, expected) in [
                ("0100000", Some(false)),
                ("0100001", Some(true)),
                ("02100002", Some(true)),
                ("x", None),
            ] {
                let info = format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t29\n");
                assert_eq!(writes(&info), expected, "{flags}");
            }
            assert_eq!(writes(""), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_told_apart_from_one_that_runs() {
        let (wall, moment) = clock::both();
        let ms = Duration::from_millis;
        let mut clocks = Clocks::new((wall, moment));
        // It runs, half a millisecond fast.
        assert_eq!(clocks.step((wall + ms(60_030), moment + ms(60_000))), None);
        let ahead = clocks.step((wall + ms(3_661_030), moment + ms(61_000)));
        let expected = ClockStep {
            by: ms(3_600_000),
            backwards: false,
        };
        assert_eq!(ahead, Some(expected));
        let back = clocks.step((wall + ms(1_030), moment + ms(62_000)));
        assert!(back.is_some_and(|step| step.backwards && step.by > ms(3_600_000)));
        assert_eq!(clocks.step((wall + ms(2_030), moment + ms(63_000))), None);
    }
}
