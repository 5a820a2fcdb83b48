//! An algorithm of the application's own that panics: whatever it is called for, every place
//! comes back, and the gate goes on to decide.

#![expect(clippy::disallowed_methods, reason = "virtual time needs one zero")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use steadfast_core::{
    Ask, Decision, Local, Outcome, ShedGate, ShedPermit, ShedSettings,
    limit::{
        Admitted, Change, Directive, Ended, Limit, LimitPhase, Sampling, Snapshot, Tag, Window,
    },
};

const LIMIT: u32 = 2;

/// What it panics on, while `armed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Admitted,
    Ended,
    Window,
    Directive,
}

#[derive(Debug)]
struct Faulty {
    on: On,
    armed: Arc<AtomicBool>,
}

impl Faulty {
    fn called(&self, on: On) {
        assert!(
            on != self.on || !self.armed.load(Ordering::Relaxed),
            "a fault of the algorithm"
        );
    }
}

impl Limit for Faulty {
    fn directive(&self) -> Directive {
        self.called(On::Directive);
        Directive::new(Some(LIMIT), Sampling::OneIn(1), 1)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(LimitPhase::Held)
    }

    fn admitted(&mut self, _: Admitted) -> Tag {
        self.called(On::Admitted);
        Tag::new(1)
    }

    fn ended(&mut self, _: Ended) -> Option<Change> {
        self.called(On::Ended);
        None
    }

    fn window(&mut self, _: Window) -> Option<Change> {
        self.called(On::Window);
        None
    }
}

fn admit(gate: &Local<ShedGate>, now: Instant) -> Option<ShedPermit> {
    match ShedGate::admit(gate, Ask::new("/work"), now) {
        Decision::Admit(permit) => Some(permit),
        _ => None,
    }
}

/// Runs `step` with the algorithm armed, and says whether it panicked.
fn panics(armed: &AtomicBool, step: impl FnOnce()) -> bool {
    armed.store(true, Ordering::Relaxed);
    let ended = catch_unwind(AssertUnwindSafe(step));
    armed.store(false, Ordering::Relaxed);
    ended.is_err()
}

#[test]
fn whatever_the_algorithm_panics_on_every_place_comes_back() {
    for on in [On::Admitted, On::Ended, On::Window, On::Directive] {
        let (now, armed) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let theirs = Arc::clone(&armed);
        let settings = ShedSettings::algorithm("Faulty", move |_| {
            Box::new(Faulty {
                on,
                armed: Arc::clone(&theirs),
            })
        });
        let gate = Local::new(ShedGate::new(&settings, 7, now).expect("valid"));
        // More often than there are places: one that is lost is missed.
        for _ in 0..=LIMIT {
            let admitting = panics(&armed, || drop(admit(&gate, now)));
            assert_eq!(admitting, on != On::Ended, "{on:?}: a drop never panics");
            let permit = admit(&gate, now).expect("there is room");
            let settling = panics(&armed, || permit.settle(Outcome::Done, now));
            assert_eq!(settling, matches!(on, On::Ended | On::Directive), "{on:?}");
            assert_eq!(gate.in_flight(), 0, "{on:?}");
        }
        let running: Vec<_> = (0..LIMIT).filter_map(|_| admit(&gate, now)).collect();
        assert_eq!(
            running.len(),
            LIMIT as usize,
            "{on:?}: all places are there"
        );
        assert!(admit(&gate, now).is_none(), "{on:?}: and no more");
    }
}

/// Method: its end asks the gate for what only its lock gives.
#[test]
fn an_algorithm_may_look_at_the_gate_when_it_ends() {
    #[derive(Debug)]
    struct Nosy(Arc<OnceLock<Local<ShedGate>>>, Instant);
    impl Limit for Nosy {
        fn directive(&self) -> Directive {
            Directive::new(Some(LIMIT), Sampling::Nothing, 0)
        }

        fn snapshot(&self) -> Snapshot {
            Snapshot::new(LimitPhase::Held)
        }
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            if let Some(gate) = self.0.get() {
                let _ = gate.snapshot(self.1);
            }
        }
    }
    let (now, seen) = (Instant::now(), Arc::new(OnceLock::new()));
    let theirs = Arc::clone(&seen);
    let settings =
        ShedSettings::algorithm("Nosy", move |_| Box::new(Nosy(Arc::clone(&theirs), now)));
    let gate = Local::new(ShedGate::new(&settings, 7, now).expect("valid"));
    seen.set(gate.clone()).expect("once");
    gate.set_algorithm(Box::new(Faulty {
        on: On::Ended,
        armed: Arc::default(),
    }));
}

#[test]
fn a_handler_that_panics_meets_an_algorithm_that_does() {
    let (now, armed) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let theirs = Arc::clone(&armed);
    let settings = ShedSettings::algorithm("Faulty", move |_| {
        Box::new(Faulty {
            on: On::Ended,
            armed: Arc::clone(&theirs),
        })
    });
    let gate = Local::new(ShedGate::new(&settings, 7, now).expect("valid"));
    let permit = admit(&gate, now).expect("there is room");
    // Two panics at once would end this process, and with it every test in it.
    assert!(panics(&armed, || {
        let _held = permit;
        panic!("a fault of the handler");
    }));
    assert_eq!(gate.in_flight(), 0);
}
