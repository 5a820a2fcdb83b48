//! The settings of dependencies' breakers.

use super::*;

#[test]
fn a_breaker_takes_its_settings_from_file_and_environment_until_its_first_call() {
    let payments = Dependency::builder("payments").build().expect("valid");
    let file = toml(
        r#"
        [dependency.payments]
        requirement = "informs"
        call_timeout = "2s"
        failure_ratio = 0.25
        consecutive_failures = 9
        stall_limit = "4s"
        ramp = "0s"
        "#,
    );
    let env = environment(&[
        ("STEADFAST__DEPENDENCY__PAYMENTS__FAILURE_RATIO", "0.3"),
        ("STEADFAST__DEPENDENCY__PAYMENTS__MODE", "observe"),
    ]);
    let build = || {
        Guard::builder()
            .dependency(&payments)
            .config(file.clone())
            .config(env.clone().expect("valid"))
            .build()
    };
    build().expect("valid");
    let state = payments.state();
    let expected = steadfast_core::Trip::default()
        .failure_ratio(0.3)
        .consecutive_failures(9)
        .stall_limit(Duration::from_secs(4))
        .ramp(Duration::ZERO);
    assert_eq!(state.trip(), expected);
    assert_eq!(state.call_timeout(), Some(Duration::from_secs(2)));
    assert_eq!(
        payments.mode(),
        steadfast_core::plumbing::BreakerMode::Observe
    );
    assert_eq!(payments.settings().0, Requirement::Informs);
    // The same settings again are no change, others come too late.
    build().expect("nothing changes");
    let other = toml("dependency.payments.open_base = '2s'");
    let late = Guard::builder().dependency(&payments).config(other).build();
    let fault = late.expect_err("too late").to_string();
    assert!(fault.contains("payments: it was called before"), "{fault}");
}

#[test]
fn a_breakers_faults_are_told_with_the_others() {
    let payments = Dependency::builder("payments").build().expect("valid");
    let file = toml(
        r#"
        [dependency.payments]
        requirement = "required"
        failure_ratio = 1
        open_base = "5m"
        open_max = "5s"
        "#,
    );
    let error = Guard::builder().dependency(&payments).config(file).build();
    let faults = error.expect_err("three faults").into_faults();
    for part in [
        "payments: failure ratio 1 is not allowed",
        "payments: open base 300s is above open max 5s",
        "payments: requirement \"required\", but it has no check",
    ] {
        assert!(
            faults.iter().any(|it| it.contains(part)),
            "{part}: {faults:?}"
        );
    }
    let wrong = "dependency.payments = { failure_ratio = 'half', mode = 'shut', probe = 1 }";
    let error = GuardConfig::from_toml_str(wrong).expect_err("three faults");
    for part in [
        "failure_ratio: found \"half\"; allowed is a number from 0 to 1",
        "mode: found \"shut\"; allowed is \"auto\"",
        "dependency.payments.probe: ",
    ] {
        assert!(
            error.faults().iter().any(|it| it.contains(part)),
            "{part}: {error}"
        );
    }
}
