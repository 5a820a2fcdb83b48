use super::*;

#[test]
fn the_defaults_are_right() {
    let rules = Trip::default().build().expect("defaults");
    assert_eq!(rules.window(), Duration::from_secs(10));
    assert_eq!(rules.stall_limit(), Some(Duration::from_secs(30)));
    assert_eq!(rules.slow_limit(), None);
    assert_eq!(rules.tick_interval(), Duration::from_millis(250));
}

#[test]
fn every_fault_is_listed_at_once() {
    let hours = Duration::from_secs(7_200);
    let error = Trip::default()
        .window(Duration::ZERO)
        .calls_min(0)
        .failure_ratio(f64::NAN)
        .consecutive_failures(99_999)
        .consecutive_spread(hours)
        .slow_limit(Duration::from_secs(9))
        .slow_ratio(1.0)
        .stalled_calls(0)
        .stall_limit(Duration::from_secs(3))
        .open_base(Duration::from_secs(90))
        .open_max(Duration::from_secs(5))
        .jitter_ratio(1.0)
        .heal_interval(Duration::ZERO)
        .retry_after_max(hours)
        .probes(16)
        .probe_successes(0)
        .probe_lease(hours)
        .inconclusive_max(0)
        .ramp(hours)
        .ramp_start_ratio(0.0)
        .build()
        .expect_err("nothing is right");
    assert_eq!(error.faults().len(), 18, "{error}");
    let text = error.to_string();
    for fault in [
        "window 0ns is not allowed; allowed are 1s to 3600s",
        "failure ratio NaN is not allowed; allowed are above 0 and below 1",
        "stall limit 3s is below slow limit 9s",
        "open base 90s is above open max 5s",
        "probes 16 is not allowed; allowed are 1 to 15",
    ] {
        assert!(text.contains(fault), "{text}");
    }
}

#[test]
fn the_longest_durations_do_not_overflow() {
    let error = Trip::default()
        .slow_limit(Duration::MAX)
        .open_max(Duration::MAX)
        .build()
        .expect_err("far too long");
    assert_eq!(error.faults().len(), 2);
}
