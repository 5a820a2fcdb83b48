//! The control word: everything that an admission depends on, in 64 bits, and the one
//! pure function that changes it.
//!
//! `state 2 | mode 2 | generation 17 | level 5 | unproven 1 | moment 37`, from the low bits up.
//!
//! - *generation* grows whenever the evidence begins anew. A permit carries the one it
//!   was given under, so a result that is late cannot decide. After 131,072 generations
//!   it starts again; the fastest flapping takes hours for that.
//! - *level* counts the openings in a row, up to 31; the wait grows with it.
//! - *unproven* marks a ramp that a check began and no call has confirmed: its end does
//!   not close, however long ago it is.
//! - *moment* is in milliseconds since the breaker was made (37 bits are 4.3 years, after
//!   which time stands still for it): closed and probing *since*, open *until*, ramping
//!   *until*.
//!
//! A pure step makes the machine a table that tests can walk; the atomics around it only
//! decide who takes the step.

use super::state::{BreakerMode, BreakerState};

/// The last moment a word can hold.
pub(super) const MOMENT_MAX: u64 = (1 << MOMENT_BITS) - 1;
/// The highest level a word can hold.
pub(super) const LEVEL_MAX: u32 = (1 << LEVEL_BITS) - 1;
/// Bits of a generation that tag the words beside the control word.
pub(super) const TAG_BITS: u32 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ControlWord(pub(super) u64);

/// What can happen to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A rule found enough evidence against the dependency.
    Trip { level: u32, wait_ms: u64 },
    /// The wait is over.
    ProbeDue,
    /// A check passed while calls are refused.
    CheckPassed,
    /// As many probes succeeded as were asked for.
    ProbesPassed { ramp_ms: u64 },
    /// Nobody has called, and a check has passed for long enough to let calls try.
    CheckVouched { ramp_ms: u64 },
    /// Calls confirmed what the check said.
    Confirmed,
    /// A probe failed or kept silent, or a round found nothing out.
    ProbesFailed { level: u32, wait_ms: u64 },
    /// The ramp is over.
    RampOver,
    /// A person set the mode.
    Mode(BreakerMode),
}

impl ControlWord {
    pub(super) const fn new(mode: BreakerMode) -> Self {
        let state = match mode {
            BreakerMode::ForcedOpen => BreakerState::Open,
            BreakerMode::Auto | BreakerMode::ForcedClosed | BreakerMode::Observe => {
                BreakerState::Closed
            }
        };
        Self::pack(state, mode, 1, 0, 0)
    }

    /// Returns the word after `event` at `now_ms`, or `None` if the event means nothing in
    /// this state and mode.
    pub(super) fn step(self, event: Event, now_ms: u64) -> Option<Self> {
        use BreakerState::{Closed, Open, Probing, Ramping};
        if let Event::Mode(mode) = event {
            return self.set_mode(mode, now_ms);
        }
        if !self.is_ruled() {
            return None;
        }
        let due = now_ms >= self.moment();
        let (state, level, moment) = match (self.state(), event) {
            (Closed | Ramping, Event::Trip { level, wait_ms }) => {
                (Open, level, now_ms.saturating_add(wait_ms))
            }
            (Open, Event::ProbeDue) if due => (Probing, self.level(), now_ms),
            (Open, Event::CheckPassed) => (Probing, self.level(), now_ms),
            (Probing, Event::ProbesPassed { ramp_ms }) => {
                (Ramping, self.level(), now_ms.saturating_add(ramp_ms))
            }
            (Probing, Event::ProbesFailed { level, wait_ms }) => {
                (Open, level, now_ms.saturating_add(wait_ms))
            }
            (Probing, Event::CheckVouched { ramp_ms }) => {
                let moment = now_ms.saturating_add(ramp_ms);
                let generation = self.generation() + 1;
                let word = Self::pack(Ramping, self.mode(), generation, self.level(), moment);
                return Some(Self(word.0 | UNPROVEN));
            }
            (Ramping, Event::Confirmed) if self.is_unproven() => {
                return Some(Self(self.0 & !UNPROVEN));
            }
            (Ramping, Event::RampOver) if due && !self.is_unproven() => {
                // What the ramp found out is good evidence in the closed state too, so
                // the generation stays.
                let word = Self::pack(
                    Closed,
                    self.mode(),
                    self.generation(),
                    self.level(),
                    self.moment(),
                );
                return Some(word);
            }
            _ => return None,
        };
        Some(Self::pack(
            state,
            self.mode(),
            self.generation() + 1,
            level,
            moment,
        ))
    }

    fn set_mode(self, mode: BreakerMode, now_ms: u64) -> Option<Self> {
        use BreakerMode::{Auto, ForcedClosed, ForcedOpen, Observe};
        let (state, moment) = match (self.mode(), mode) {
            (from, to) if from == to => return None,
            // The rules ran before and run on: their evidence stays good.
            (Auto | Observe, Auto | Observe) => {
                let word = Self::pack(
                    self.state(),
                    mode,
                    self.generation(),
                    self.level(),
                    self.moment(),
                );
                return Some(Self(word.0 | self.0 & UNPROVEN));
            }
            // From forced open the way back leads through probes, which are due at once.
            (_, ForcedOpen) | (ForcedOpen, Auto | Observe) => (BreakerState::Open, now_ms),
            (_, ForcedClosed | Auto | Observe) => (BreakerState::Closed, now_ms),
        };
        let level = match mode {
            ForcedClosed => 0,
            Auto | ForcedOpen | Observe => self.level(),
        };
        Some(Self::pack(
            state,
            mode,
            self.generation() + 1,
            level,
            moment,
        ))
    }

    /// Returns the state that holds at `now_ms`, whether or not anybody came to take the
    /// step: a wait that is over is over without traffic too.
    pub(super) fn state_at(self, now_ms: u64) -> BreakerState {
        let due = self.is_ruled() && now_ms >= self.moment();
        match self.state() {
            BreakerState::Open if due => BreakerState::Probing,
            BreakerState::Ramping if due && !self.is_unproven() => BreakerState::Closed,
            state @ (BreakerState::Closed
            | BreakerState::Open
            | BreakerState::Probing
            | BreakerState::Ramping) => state,
        }
    }

    /// Returns the openings in a row that still count at `now_ms`: one fewer for each
    /// healthy interval in the closed state, and never more than `level_max`, above which
    /// the wait does not grow.
    pub(super) fn level_at(self, now_ms: u64, heal_ms: u64, level_max: u32) -> u32 {
        let level = self.level().min(level_max);
        if self.state() != BreakerState::Closed {
            return level;
        }
        let healed = now_ms.saturating_sub(self.moment()) / heal_ms.max(1);
        level.saturating_sub(u32::try_from(healed).unwrap_or(u32::MAX))
    }

    /// Whether rules may move the word: no person has forced it.
    pub(super) const fn is_ruled(self) -> bool {
        matches!(self.mode(), BreakerMode::Auto | BreakerMode::Observe)
    }

    /// Whether a call passes without another look.
    pub(super) const fn is_plain_closed(self) -> bool {
        self.0 & PLAIN_MASK == 0
    }

    pub(super) const fn state(self) -> BreakerState {
        match self.0 & 3 {
            0 => BreakerState::Closed,
            1 => BreakerState::Open,
            2 => BreakerState::Probing,
            _ => BreakerState::Ramping,
        }
    }

    pub(super) const fn mode(self) -> BreakerMode {
        match self.0 >> 2 & 3 {
            0 => BreakerMode::Auto,
            1 => BreakerMode::ForcedOpen,
            2 => BreakerMode::ForcedClosed,
            _ => BreakerMode::Observe,
        }
    }

    pub(super) const fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32 & GENERATION_MAX
    }

    pub(super) const fn level(self) -> u32 {
        (self.0 >> LEVEL_SHIFT) as u32 & LEVEL_MAX
    }

    /// Whether it is a ramp that no call has confirmed.
    pub(super) const fn is_unproven(self) -> bool {
        self.0 & UNPROVEN != 0
    }

    pub(super) const fn moment(self) -> u64 {
        self.0 >> MOMENT_SHIFT
    }

    pub(super) const fn pack(
        state: BreakerState,
        mode: BreakerMode,
        generation: u32,
        level: u32,
        moment: u64,
    ) -> Self {
        let state = match state {
            BreakerState::Closed => 0,
            BreakerState::Open => 1,
            BreakerState::Probing => 2,
            BreakerState::Ramping => 3,
        };
        let mode = match mode {
            BreakerMode::Auto => 0,
            BreakerMode::ForcedOpen => 1,
            BreakerMode::ForcedClosed => 2,
            BreakerMode::Observe => 3,
        };
        let level = if level < LEVEL_MAX { level } else { LEVEL_MAX };
        let moment = if moment < MOMENT_MAX {
            moment
        } else {
            MOMENT_MAX
        };
        Self(
            state
                | mode << 2
                | ((generation & GENERATION_MAX) as u64) << GENERATION_SHIFT
                | (level as u64) << LEVEL_SHIFT
                | moment << MOMENT_SHIFT,
        )
    }
}

/// Returns the bits of a generation that tag a word beside the control word.
pub(super) const fn tag(generation: u32) -> u64 {
    (generation & ((1 << TAG_BITS) - 1)) as u64
}

const PLAIN_MASK: u64 = 0b1111;
const GENERATION_SHIFT: u32 = 4;
const GENERATION_BITS: u32 = 17;
const GENERATION_MAX: u32 = (1 << GENERATION_BITS) - 1;
const LEVEL_SHIFT: u32 = GENERATION_SHIFT + GENERATION_BITS;
const LEVEL_BITS: u32 = 5;
const UNPROVEN: u64 = 1 << (LEVEL_SHIFT + LEVEL_BITS);
const MOMENT_SHIFT: u32 = LEVEL_SHIFT + LEVEL_BITS + 1;
const MOMENT_BITS: u32 = 64 - MOMENT_SHIFT;

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATES: [BreakerState; 4] = [
        BreakerState::Closed,
        BreakerState::Open,
        BreakerState::Probing,
        BreakerState::Ramping,
    ];
    const MODES: [BreakerMode; 4] = [
        BreakerMode::Auto,
        BreakerMode::ForcedOpen,
        BreakerMode::ForcedClosed,
        BreakerMode::Observe,
    ];

    fn word() -> impl Strategy<Value = ControlWord> {
        (
            0..4_usize,
            0..4_usize,
            any::<u32>(),
            0..=31_u32,
            any::<u64>(),
            any::<bool>(),
        )
            .prop_map(|(state, mode, generation, level, moment, is_unproven)| {
                let word = ControlWord::pack(STATES[state], MODES[mode], generation, level, moment);
                let is_unproven = is_unproven && word.state() == BreakerState::Ramping;
                ControlWord(word.0 | if is_unproven { UNPROVEN } else { 0 })
            })
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..99_u32, any::<u64>()).prop_map(|(level, wait_ms)| Event::Trip { level, wait_ms }),
            Just(Event::ProbeDue),
            Just(Event::CheckPassed),
            any::<u64>().prop_map(|ramp_ms| Event::ProbesPassed { ramp_ms }),
            (0..99_u32, any::<u64>())
                .prop_map(|(level, wait_ms)| Event::ProbesFailed { level, wait_ms }),
            any::<u64>().prop_map(|ramp_ms| Event::CheckVouched { ramp_ms }),
            Just(Event::Confirmed),
            Just(Event::RampOver),
        ]
    }

    #[test]
    fn the_machine_has_these_arrows_and_no_others() {
        use BreakerState::{Closed, Open, Probing, Ramping};
        let trip = Event::Trip {
            level: 1,
            wait_ms: 5,
        };
        let failed = Event::ProbesFailed {
            level: 2,
            wait_ms: 5,
        };
        let passed = Event::ProbesPassed { ramp_ms: 5 };
        let vouched = Event::CheckVouched { ramp_ms: 5 };
        for (state, event, expected) in [
            (Closed, trip, Some(Open)),
            (Ramping, trip, Some(Open)),
            (Open, trip, None),
            (Probing, trip, None),
            (Open, Event::ProbeDue, Some(Probing)),
            (Open, Event::CheckPassed, Some(Probing)),
            (Closed, Event::CheckPassed, None),
            (Ramping, Event::CheckPassed, None),
            (Probing, passed, Some(Ramping)),
            (Open, passed, None),
            (Closed, passed, None),
            (Probing, vouched, Some(Ramping)),
            (Open, vouched, None),
            (Closed, vouched, None),
            (Ramping, vouched, None),
            (Ramping, Event::Confirmed, None),
            (Probing, failed, Some(Open)),
            (Ramping, failed, None),
            (Ramping, Event::RampOver, Some(Closed)),
            (Open, Event::RampOver, None),
        ] {
            let word = ControlWord::pack(state, BreakerMode::Auto, 7, 1, 100);
            let next = word.step(event, 100).map(ControlWord::state);
            assert_eq!(next, expected, "{state} {event:?}");
        }
    }

    #[test]
    fn a_timer_that_is_not_due_moves_nothing() {
        let open = ControlWord::pack(BreakerState::Open, BreakerMode::Auto, 7, 1, 100);
        assert_eq!(open.step(Event::ProbeDue, 99), None);
        let ramping = ControlWord::pack(BreakerState::Ramping, BreakerMode::Auto, 7, 1, 100);
        assert_eq!(ramping.step(Event::RampOver, 99), None);
    }

    #[test]
    fn a_ramp_that_a_check_began_closes_only_once_calls_have_confirmed_it() {
        let probing = ControlWord::pack(BreakerState::Probing, BreakerMode::Auto, 7, 2, 100);
        let ramping = probing.step(Event::CheckVouched { ramp_ms: 50 }, 100);
        let ramping = ramping.expect("it vouches");
        let fields = (ramping.generation(), ramping.level(), ramping.moment());
        assert_eq!(fields, (8, 2, 150));
        assert_eq!(ramping.step(Event::RampOver, 9_000), None);
        assert_eq!(ramping.state_at(9_000), BreakerState::Ramping);
        let observed = ramping.step(Event::Mode(BreakerMode::Observe), 200);
        assert!(observed.is_some_and(ControlWord::is_unproven));
        let confirmed = ramping.step(Event::Confirmed, 120).expect("calls did");
        assert_eq!(confirmed.generation(), 8, "its evidence stays");
        assert_eq!(confirmed.step(Event::Confirmed, 120), None, "once");
        assert_eq!(confirmed.state_at(149), BreakerState::Ramping);
        let closed = confirmed.step(Event::RampOver, 150).map(ControlWord::state);
        assert_eq!(closed, Some(BreakerState::Closed));
        let tripped = ramping.step(
            Event::Trip {
                level: 3,
                wait_ms: 5,
            },
            110,
        );
        let tripped = tripped.expect("calls failed");
        assert!(tripped.state() == BreakerState::Open && !tripped.is_unproven());
    }

    #[test]
    fn a_level_heals_by_one_for_each_healthy_interval() {
        let closed = ControlWord::pack(BreakerState::Closed, BreakerMode::Auto, 7, 9, 1_000);
        for (now, expected) in [
            (1_000, 6),
            (10_999, 6),
            (11_000, 5),
            (51_000, 1),
            (900_000, 0),
        ] {
            assert_eq!(closed.level_at(now, 10_000, 6), expected, "at {now}");
        }
        let ramping = ControlWord::pack(BreakerState::Ramping, BreakerMode::Auto, 7, 3, 1_000);
        assert_eq!(ramping.level_at(900_000, 10_000, 6), 3);
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(state in 0..4_usize, mode in 0..4_usize,
            generation in 0..=GENERATION_MAX, level in 0..=LEVEL_MAX, moment in 0..=MOMENT_MAX) {
            let word = ControlWord::pack(STATES[state], MODES[mode], generation, level, moment);
            prop_assert_eq!(word.state(), STATES[state]);
            prop_assert_eq!(word.mode(), MODES[mode]);
            prop_assert_eq!(word.generation(), generation);
            prop_assert_eq!(word.level(), level);
            prop_assert_eq!(word.moment(), moment);
        }

        #[test]
        fn no_event_but_a_person_moves_a_forced_word(
            word in word(), event in event(), now in any::<u64>(),
        ) {
            prop_assume!(!word.is_ruled());
            prop_assert_eq!(word.step(event, now), None);
            prop_assert_eq!(word.state_at(now), word.state());
        }

        #[test]
        fn no_single_event_closes_but_the_end_of_a_ramp(
            word in word(), event in event(), now in any::<u64>(),
        ) {
            if let Some(next) = word.step(event, now) {
                if next.state() == BreakerState::Closed {
                    prop_assert_eq!((word.state(), event), (BreakerState::Ramping, Event::RampOver));
                    prop_assert!(!word.is_unproven());
                } else if event == Event::Confirmed {
                    prop_assert_eq!(next.generation(), word.generation());
                } else {
                    prop_assert_eq!(next.generation(), (word.generation() + 1) & GENERATION_MAX);
                }
                prop_assert_eq!(next.mode(), word.mode());
            }
        }
    }
}
