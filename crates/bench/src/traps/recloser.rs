//! recloser, wired as its documentation shows: the defaults around futures.

use std::time::{Duration, Instant};

use recloser::{AsyncRecloser, Error, Recloser};

use super::{
    call::{Answer, Call, Fault},
    clock,
    pinned::pinned,
    subject::{Peer, Subject, Wiring},
};

pub(crate) struct RecloserPeer;

impl Peer for RecloserPeer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &'static str {
        pinned(NAME)
    }

    fn make(&self, wiring: Wiring) -> Box<dyn Subject> {
        let wait = match wiring {
            Wiring::Wait(wait) => wait,
            _ => clock::SHORT,
        };
        let builder = Recloser::custom().open_wait(wait);
        let builder = match wiring {
            Wiring::Records(records) => builder.closed_len(records as usize),
            _ => builder,
        };
        Box::new(Breaker {
            breaker: builder.build().into(),
            wait,
        })
    }
}

struct Breaker {
    breaker: AsyncRecloser,
    wait: Duration,
}

impl Subject for Breaker {
    fn start(&self) -> Call {
        Call::start(|script| {
            let is_failure = |fault: &Fault| fault.is_failure();
            let call = self.breaker.call_with(is_failure, script.work());
            Box::pin(async move {
                match call.await {
                    Ok(()) => Answer::Served,
                    Err(Error::Rejected) => Answer::Refused,
                    Err(Error::Inner(_)) => Answer::Failed,
                }
            })
        })
    }

    fn pass(&self, time: Duration) {
        clock::sleep(time);
    }

    fn now(&self) -> Instant {
        clock::real()
    }

    fn wait(&self) -> Duration {
        self.wait
    }

    /// Its ring must be full before it looks at the rate.
    fn trips_after(&self) -> u32 {
        WINDOW + 1
    }

    fn round(&self) -> u32 {
        HALF_OPEN + 1
    }

    fn probes(&self) -> Option<u32> {
        None
    }

    fn refusal(&self) -> String {
        "Error::Rejected, without a time to come back".into()
    }
}

const NAME: &str = "recloser";
/// Its default ring.
const WINDOW: u32 = 100;
/// Its default ring while half-open.
const HALF_OPEN: u32 = 10;
