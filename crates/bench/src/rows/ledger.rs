//! What a refusal costs that is written down, beside one that is only made.

use std::{sync::Arc, time::Duration};

use steadfast_core::{
    Evidence, Ledger, Name, Refusal,
    plumbing::{Answered, Recorded, RefusalId, RequestNote},
};

use super::{Bench, Row};
use crate::clock;

pub(crate) const ROWS: &[Row] = &[
    Row::new("refusal-made", "steadfast", || {
        Box::new(Refusals::new(false))
    }),
    Row::new("refusal-recorded", "steadfast", || {
        Box::new(Refusals::new(true))
    })
    .over("refusal-made"),
];

struct Refusals {
    ledger: Arc<Ledger>,
    records: bool,
}

impl Refusals {
    fn new(records: bool) -> Self {
        Self {
            ledger: Arc::default(),
            records,
        }
    }
}

impl Bench for Refusals {
    fn run(&self, calls: u32) {
        let at = clock::now();
        let evidence = Evidence::Draining {
            since: Duration::ZERO,
        };
        for call in 0..calls {
            let gate = Name::from_static("gate");
            let refusal = Refusal::new(gate, evidence.clone(), Duration::ZERO, at);
            let whole = |refusal| Recorded {
                id: RefusalId(call.into()),
                refusal,
                retry_after: Duration::from_secs(1),
                answered: Answered::Refusal,
                request: RequestNote::default(),
            };
            match self.records {
                true => {
                    std::hint::black_box(self.ledger.record(refusal, "/", whole));
                }
                false => drop(std::hint::black_box(refusal)),
            }
        }
    }

    fn again(&self) -> Box<dyn Bench> {
        Box::new(Self {
            ledger: Arc::clone(&self.ledger),
            records: self.records,
        })
    }
}
