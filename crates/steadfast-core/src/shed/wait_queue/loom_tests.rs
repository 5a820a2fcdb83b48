//! The hand-over under every interleaving: whoever gives back against whoever enters,
//! leaves, or looks.

use loom::{sync::Arc, thread};

use super::*;
use crate::testing::origin;

struct Gate {
    tokens: Tokens,
    queue: WaitQueue,
    now: Instant,
}

impl Gate {
    /// One may run, and does, on the token that is returned.
    fn busy() -> (Arc<Self>, Token) {
        let now = origin();
        let gate = Self {
            tokens: Tokens::new(1),
            queue: WaitQueue::new(QueueSettings::default().len_max(2), now),
            now,
        };
        let token = gate.tokens.take(0).expect("the first");
        (Arc::new(gate), token)
    }

    /// As the gate admits: a token, unless somebody waits; otherwise the queue.
    fn admit(&self, stripe: usize) -> Entered {
        if !self.tokens.is_wanted() {
            if let Some(token) = self.tokens.take(stripe) {
                return Entered::Run(token);
            }
        }
        let tempo = Tempo {
            limit: 2,
            service: Duration::ZERO,
        };
        self.queue
            .enter(Asking::default(), tempo, &self.tokens, stripe, self.now)
    }

    fn release(&self, stripe: usize, token: Token) {
        self.tokens.give_back(stripe, token);
        if self.tokens.is_wanted() {
            self.queue.hand_over(&self.tokens, stripe, Some(self.now));
        }
    }

    fn leave(&self, stripe: usize, place: PlaceNo) {
        if let Some(token) = self.queue.leave(place, &self.tokens) {
            self.release(stripe, token);
        }
    }

    fn may_run(&self, entered: Entered) -> bool {
        match entered {
            Entered::Run(_) => true,
            Entered::Wait(place, _) => {
                let told = self.queue.ask(place, &self.tokens, Waker::noop(), self.now);
                matches!(told, WaitState::Run(_))
            }
            Entered::Refuse(..) => false,
        }
    }
}

#[test]
fn loom_a_token_given_back_reaches_whoever_enters_meanwhile() {
    loom::model(|| {
        let (gate, token) = Gate::busy();
        let other = Arc::clone(&gate);
        let ends = thread::spawn(move || other.release(1, token));
        let entered = gate.admit(0);
        ends.join().expect("joined");
        assert!(gate.may_run(entered), "waits beside a free token");
        assert_eq!(gate.tokens.in_flight(), 1);
    });
}

#[test]
fn loom_two_who_enter_beside_one_release_are_served_one_at_a_time() {
    loom::model(|| {
        let (gate, token) = Gate::busy();
        let other = Arc::clone(&gate);
        let enters = thread::spawn(move || other.admit(1));
        gate.release(0, token);
        let entered = [gate.admit(0), enters.join().expect("joined")];
        let runs = entered.map(|entered| gate.may_run(entered));
        assert!(runs[0] ^ runs[1], "{runs:?}");
        assert_eq!(gate.tokens.in_flight(), 1);
    });
}

#[test]
fn loom_whoever_leaves_while_it_is_served_hands_the_token_on() {
    loom::model(|| {
        let (gate, token) = Gate::busy();
        let Entered::Wait(leaves, _) = gate.admit(0) else {
            panic!("no place")
        };
        let stays = gate.admit(0);
        let other = Arc::clone(&gate);
        let ends = thread::spawn(move || other.release(1, token));
        gate.leave(0, leaves);
        ends.join().expect("joined");
        assert!(gate.may_run(stays), "the token was lost");
        assert_eq!(gate.tokens.in_flight(), 1);
    });
}

#[test]
fn loom_a_raised_limit_reaches_whoever_enters_meanwhile() {
    loom::model(|| {
        let (gate, _token) = Gate::busy();
        let other = Arc::clone(&gate);
        let raises = thread::spawn(move || {
            other.tokens.set_limit(2);
            if other.tokens.is_wanted() {
                other.queue.hand_over(&other.tokens, 1, None);
            }
        });
        let entered = gate.admit(0);
        raises.join().expect("joined");
        assert!(gate.may_run(entered), "waits below the limit");
        assert_eq!(gate.tokens.in_flight(), 2);
    });
}
