//! What follows from what is watched: when a limit is put in force, and when it is not.

use super::*;

/// Feeds what a pool of eight shows that has too much to do: in flight goes up and down while it
/// grows, and latency with it. Stops at the first change, and returns the moment and the change.
fn overload(limit: &mut Adaptive, mut now: Instant) -> Option<(Instant, Change)> {
    for step in 0..64 {
        let trend = 8.0 * 8.0_f64.powf(f64::from(step) / 63.0);
        let in_flight = (trend * if step % 2 == 0 { 1.0 } else { 1.4 }).round();
        let latency = Duration::from_secs_f64(0.01 * in_flight / 8.0);
        let in_flight = in_flight as u32;
        let tags: Vec<_> = (0..16)
            .map(|_| limit.admitted(Admitted::new(now, in_flight)))
            .collect();
        for tag in tags {
            let ended = Ended::new(now + latency, now, in_flight, tag, Ending::Completed);
            if let Some(change) = limit.ended(ended) {
                return Some((now + latency, change));
            }
        }
        now += latency;
    }
    None
}

#[test]
fn a_pool_that_is_full_gets_a_limit_of_its_size_and_it_is_told_why() {
    let mut limit = Adaptive::new(7);
    let (at, change) = overload(&mut limit, origin()).expect("it has too much to do");
    assert_eq!((change.at, change.from), (at, None));
    assert!(
        (11..=15).contains(&change.to.expect("a limit")),
        "{change:?}"
    );
    let ChangeReason::Saturated { knee, slower, .. } = change.why else {
        panic!("{change:?}");
    };
    assert!((7.0..10.0).contains(&knee), "{knee}");
    assert!(slower > 1.8, "{slower}: worth a limit");
    assert_eq!(limit.snapshot().phase, LimitPhase::Verifying);
    assert_eq!(limit.snapshot().limit, change.to);
}

#[test]
fn saturation_is_believed_again_from_the_moment_at_which_the_doubt_ends() {
    let begins = origin();
    let engages_at = |doubt_until: Option<Instant>| {
        let mut limit = Adaptive::new(7);
        limit.doubt_until = doubt_until;
        overload(&mut limit, begins).map(|(at, _)| at)
    };
    let at = engages_at(None).expect("nobody doubts");
    for over in [at - SECOND / 1_000, at] {
        assert_eq!(engages_at(Some(over)), Some(at), "the doubt is over");
    }
    let later = engages_at(Some(at + SECOND / 1_000)).expect("it goes on");
    assert!(later > at, "it was doubted");
    assert_eq!(engages_at(Some(at + 3_600 * SECOND)), None);
}

#[test]
fn a_limit_that_refuses_nobody_gives_way_if_it_is_far_above_the_pool() {
    let mut far = start(500);
    let epoch = far.engaged.as_ref().expect("a limit").next_epoch();
    let (_, change) = overload(&mut far, origin()).expect("the pool is full all the same");
    assert_eq!(change.from, Some(500));
    assert!(
        (11..=15).contains(&change.to.expect("a limit")),
        "{change:?}"
    );
    let engaged = far.engaged.as_ref().expect("a limit");
    assert_ne!(
        engaged.next_epoch(),
        epoch,
        "no earlier sample counts for it"
    );
    // One of about the right size is not tried anew.
    let mut right = start(14);
    assert!(overload(&mut right, origin()).is_none());
    let engaged = right.engaged.as_ref().expect("a limit");
    assert_eq!(engaged.next_epoch(), epoch, "it is the one it was");
    assert_eq!(
        (right.limit(), engaged.phase()),
        (Some(14), LimitPhase::Held)
    );
}
