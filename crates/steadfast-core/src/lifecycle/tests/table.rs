//! Goal: what is told to a request in each phase, after each event, in one table. Method:
//! a lifecycle is brought into a phase, the event happens, and a request asks at once.

use super::*;
use crate::shed::Decision;

/// What had come before.
#[derive(Clone, Copy, Debug)]
enum In {
    NotStarted,
    FirstRound,
    RoundFailed,
    HoldOver,
    Ready,
    LameDuck,
    Draining,
    GraceOver,
    Stopped,
    /// The signal came during the start.
    LameDuckEarly,
    DrainingEarly,
    /// The signal came before the start.
    LameDuckUnstarted,
}

/// What happens then.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    ChecksPass,
    ByFile,
    ByOperator,
    /// It has an end, which has come.
    Expired,
    /// By both, and the operator has ended his.
    OneOfTwoEnded,
    Ended,
    /// A signal, or the next step of the drain.
    Leave,
    /// As `ByFile`, and then `Leave`.
    ByFileThenLeave,
}

/// What a request is told: served, waits, or the cause.
fn told(at: In, event: Event) -> &'static str {
    let start = origin();
    let life = std::sync::Arc::new(Lifecycle::new(start));
    let now = start + 100 * SEC;
    let grace_over = now + 15 * SEC;
    let early = matches!(
        at,
        In::FirstRound
            | In::RoundFailed
            | In::HoldOver
            | In::LameDuckEarly
            | In::DrainingEarly
            | In::LameDuckUnstarted
            | In::NotStarted
    );
    if !matches!(at, In::NotStarted | In::LameDuckUnstarted) {
        let began = if matches!(at, In::HoldOver) {
            start
        } else {
            now
        };
        life.start(Start::default(), began);
    }
    if matches!(at, In::RoundFailed) {
        life.first_round_failed(now);
    }
    if !early {
        life.advance(Phase::Ready, now);
    }
    match at {
        In::NotStarted | In::FirstRound | In::RoundFailed | In::HoldOver | In::Ready => {}
        In::LameDuck | In::LameDuckEarly | In::LameDuckUnstarted => {
            life.advance(Phase::LameDuck, now);
        }
        In::Draining | In::DrainingEarly | In::GraceOver => {
            life.advance(Phase::Draining, now);
            life.refuse_from(grace_over, now);
        }
        In::Stopped => {
            life.advance(Phase::Stopped, now);
        }
    }
    let maintain = |by, until| life.begin_maintenance(by, "schema change", until, now);
    let leave = || {
        let phase = life.view(now).phase;
        let next = match phase {
            Some(Phase::LameDuck) => Phase::Draining,
            Some(Phase::Draining) => Phase::Stopped,
            _ => Phase::LameDuck,
        };
        life.advance(next, now);
    };
    let mut asked = now;
    match event {
        Event::Nothing => {}
        Event::ChecksPass if life.view(now).phase == Some(Phase::Starting) => {
            life.advance(Phase::Ready, now);
        }
        Event::ChecksPass => life.start_passed(now),
        Event::ByFile => {
            maintain(Declarer::File, None);
        }
        Event::ByOperator => {
            maintain(Declarer::Operator, None);
        }
        Event::Expired => {
            maintain(Declarer::Operator, Some(now + SEC));
            asked = now + SEC;
        }
        Event::OneOfTwoEnded => {
            maintain(Declarer::Operator, None);
            maintain(Declarer::File, None);
            life.end_maintenance(Declarer::Operator, now);
        }
        Event::Ended => {
            maintain(Declarer::File, None);
            life.end_maintenance(Declarer::File, now);
        }
        Event::Leave => leave(),
        Event::ByFileThenLeave => {
            maintain(Declarer::File, None);
            leave();
        }
    }
    if matches!(at, In::GraceOver) {
        asked = grace_over;
    }
    match life.ask(None, asked) {
        Decision::Admit(()) => "served",
        Decision::Wait(_) => "waits",
        Decision::Refuse(refusal) => refusal.cause().code(),
    }
}

#[test]
fn every_phase_and_event() {
    use Event::{
        ByFile, ByFileThenLeave, ByOperator, ChecksPass, Ended, Expired, Leave, Nothing,
        OneOfTwoEnded,
    };
    let events = [
        Nothing,
        ChecksPass,
        ByFile,
        ByOperator,
        Expired,
        OneOfTwoEnded,
        Ended,
        Leave,
        ByFileThenLeave,
    ];
    const UP: &str = "served";
    const WA: &str = "waits";
    const ST: &str = "starting";
    const MA: &str = "maintenance";
    const DR: &str = "draining";
    #[rustfmt::skip]
    let table = [
        //                      nothing pass file operator expired one-of-two ended leave file+leave
        (In::NotStarted,        [UP,    UP,  MA,  MA,      UP,     MA,        UP,   UP,   MA]),
        (In::FirstRound,        [WA,    UP,  MA,  MA,      WA,     MA,        WA,   WA,   MA]),
        (In::RoundFailed,       [ST,    UP,  MA,  MA,      ST,     MA,        ST,   ST,   MA]),
        (In::HoldOver,          [UP,    UP,  MA,  MA,      UP,     MA,        UP,   UP,   MA]),
        (In::Ready,             [UP,    UP,  MA,  MA,      UP,     MA,        UP,   UP,   MA]),
        (In::LameDuck,          [UP,    UP,  MA,  MA,      UP,     MA,        UP,   UP,   MA]),
        (In::Draining,          [UP,    UP,  MA,  MA,      UP,     MA,        UP,   DR,   DR]),
        (In::GraceOver,         [DR,    DR,  DR,  DR,      DR,     DR,        DR,   DR,   DR]),
        (In::Stopped,           [DR,    DR,  DR,  DR,      DR,     DR,        DR,   DR,   DR]),
        (In::LameDuckEarly,     [WA,    UP,  MA,  MA,      WA,     MA,        WA,   WA,   MA]),
        (In::DrainingEarly,     [WA,    UP,  MA,  MA,      WA,     MA,        WA,   DR,   DR]),
        (In::LameDuckUnstarted, [UP,    UP,  MA,  MA,      UP,     MA,        UP,   UP,   MA]),
    ];
    for (at, expected) in table {
        for (event, expected) in events.into_iter().zip(expected) {
            assert_eq!(told(at, event), expected, "{at:?}, then {event:?}");
        }
    }
}
