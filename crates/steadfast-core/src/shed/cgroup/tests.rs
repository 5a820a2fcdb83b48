use proptest::prelude::*;

use super::{parse::UNLIMITED_FROM, *};
use crate::testing::origin;

const MIB: u64 = 1 << 20;

fn memory(used_mib: u64) -> ResourceSample {
    ResourceSample {
        memory: Memory::parse(&(used_mib * MIB).to_string(), "1048576000\n", ""),
        ..ResourceSample::default()
    }
}

#[test]
fn what_the_kernel_writes_is_read() {
    let v2 = Memory::parse(
        "943718400\n",
        "1073741824\n",
        "anon 838860800\nfile 104857600\ninactive_file 52428800\nactive_file 52428800\n",
    );
    assert_eq!(
        v2,
        Some(Memory {
            used: 891_289_600,
            limit: 1_073_741_824
        })
    );
    let v1 = Memory::parse(
        "943718400",
        "1073741824",
        "inactive_file 1048576\ntotal_inactive_file 2097152\n",
    );
    assert_eq!(v1.expect("v1").used, 941_621_248);
    assert_eq!(Memory::parse("1\n", "max\n", ""), None, "no limit in v2");
    assert_eq!(
        Memory::parse("1\n", "9223372036854771712\n", ""),
        None,
        "none in v1"
    );
    let v2 = "usage_usec 2500000\nuser_usec 1\nnr_periods 40\nnr_throttled 10\nthrottled_usec 7\n";
    let cpu = CpuTotals::parse(v2, "150000 100000\n", "").expect("v2");
    assert_eq!(cpu.used, Some(Duration::from_millis(2500)));
    assert_eq!(
        (cpu.periods, cpu.throttled, cpu.quota_cpus),
        (40, 10, Some(1.5))
    );
    let v1 = CpuTotals::parse(
        "nr_periods 4\nnr_throttled 1\nthrottled_time 9\n",
        "-1 100000",
        "77\n",
    );
    let v1 = v1.expect("v1");
    assert_eq!(
        (v1.used, v1.quota_cpus),
        (Some(Duration::from_nanos(77)), None)
    );
    let psi = "some avg10=1.00 avg60=0.20 avg300=0.00 total=1234567\nfull avg10=0.00 total=9\n";
    assert_eq!(stalled_total(psi), Some(Duration::from_micros(1_234_567)));
    let groups = "12:cpu,cpuacct:/a\n11:memory:/b/c\n0::/user.slice/x.service\n";
    assert_eq!(group_path(groups, None), Some("/user.slice/x.service"));
    assert_eq!(group_path(groups, Some("cpu")), Some("/a"));
    assert_eq!(group_path(groups, Some("memory")), Some("/b/c"));
    assert_eq!(group_path(groups, Some("io")), None);
}

#[test]
fn what_the_kernel_does_not_write_is_not_guessed() {
    let memory = |limit: &str, stat: &str| Memory::parse("8388608", limit, stat);
    assert_eq!(memory("0", ""), None, "a limit of nothing");
    let edge = UNLIMITED_FROM - 1;
    let largest = memory(&edge.to_string(), "").expect("the last that is a limit");
    assert_eq!((largest.used, largest.limit), (8 << 20, edge));
    assert_eq!(memory(&UNLIMITED_FROM.to_string(), ""), None);
    let cached = memory("16777216", "inactive_file 9999999999\n").expect("a limit");
    assert_eq!(cached.used, 0, "more cache than use is no use");
    let half = memory("16777216", "").expect("a limit");
    assert!((half.ratio() - 0.5).abs() < 1e-9);
    assert_eq!(half.to_string(), "8 of 16 MiB (50.0 %)");
    assert_eq!(
        CpuTotals::parse("", "max 100000", ""),
        None,
        "nothing at all"
    );
    let idle = CpuTotals::parse("nr_periods 0\n", "max 100000", "").expect("periods");
    assert_eq!((idle.used, idle.periods, idle.quota_cpus), (None, 0, None));
    let odd = CpuTotals::parse("usage_usec 1\n", "100000 0", "").expect("use");
    assert_eq!(odd.quota_cpus, None, "a period of nothing");
    assert_eq!(stalled_total("full avg10=0.00 total=9\n"), None);
    assert_eq!(stalled_total("some avg10=0.00\n"), None);
    assert_eq!(
        group_path("1:cpu:/a\n", None),
        None,
        "a v1 host has no v2 group"
    );
    assert_eq!(group_path("0:cpu:/a\n", None), None);
}

#[test]
fn a_level_is_entered_at_its_bound_and_left_well_below_it() {
    let mut resources = Resources::new();
    let mut now = origin();
    for (used, level) in [
        (900, MemoryLevel::Fine),
        (921, MemoryLevel::Soft),
        (900, MemoryLevel::Soft),
        (960, MemoryLevel::Hard),
        (930, MemoryLevel::Hard),
        (919, MemoryLevel::Soft),
        (889, MemoryLevel::Fine),
    ] {
        now += Duration::from_secs(1);
        let before = resources.snapshot().level;
        let change = resources.look(Some((now, memory(used))), now);
        assert_eq!(resources.snapshot().level, level, "{used}");
        assert_eq!(change.is_some(), before != level, "{used}");
    }
}

#[test]
fn what_cannot_be_read_any_more_refuses_nobody() {
    let mut resources = Resources::new();
    let at = origin();
    assert!(resources.look(Some((at, memory(990))), at).is_some());
    let held = at + SAMPLE_AGE_MAX;
    assert_eq!(resources.look(Some((at, memory(990))), held), None);
    let change = resources.look(Some((at, memory(990))), held + Duration::from_millis(1));
    let change = change.expect("it is too old");
    assert_eq!((change.to, change.memory), (MemoryLevel::Fine, None));
}

#[test]
fn shares_are_of_the_time_between_two_samples() {
    let sample = |used_ms, periods, throttled, stalled_ms| ResourceSample {
        cpu: Some(CpuTotals {
            used: Some(Duration::from_millis(used_ms)),
            periods,
            throttled,
            quota_cpus: Some(2.0),
        }),
        stalled: [Some(Duration::from_millis(stalled_ms)), None, None],
        ..ResourceSample::default()
    };
    let mut resources = Resources::new();
    let start = origin();
    let end = start + Duration::from_secs(2);
    resources.look(Some((start, sample(1000, 10, 0, 0))), start);
    resources.look(Some((end, sample(4000, 30, 5, 500))), end);
    let seen = resources.snapshot();
    assert_eq!(
        (seen.cpu_ratio, seen.throttled_ratio),
        (Some(0.75), Some(0.25))
    );
    assert_eq!(seen.stalled_ratio, [Some(0.25), None, None]);
    assert_eq!(
        seen.level,
        MemoryLevel::Fine,
        "it is shown, and decides nothing"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_refuse_who_waits(
        texts in proptest::collection::vec("[a-z_0-9 =.:\\n/-]{0,60}", 6),
        used in any::<u64>(), limit in any::<u64>(),
    ) {
        let _ = stalled_total(&texts[0]);
        let _ = group_path(&texts[1], Some("memory"));
        let _ = CpuTotals::parse(&texts[2], &texts[3], &texts[4]);
        let memory = Memory::parse(&used.to_string(), &limit.to_string(), &texts[5]);
        let sample = ResourceSample { memory, ..ResourceSample::default() };
        let mut resources = Resources::new();
        resources.look(Some((origin(), sample)), origin());
        let level = resources.snapshot().level;
        prop_assert!(!level.refuses(Priority::Critical) && !level.refuses(Priority::Default));
        prop_assert!(!level.refuses(Priority::Sheddable) || level.refuses(Priority::Background));
    }
}
