//! Looks at some requests for what only requests tell: who sends them, and how long the proxy
//! in front waits for their answers.

use std::time::Duration;

use http::{HeaderName, Request};

use crate::{
    clock,
    instance::{Control, traffic},
};

/// How long Envoy waits for the answer to this request, in milliseconds.
const EXPECTED: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// Longest time that is believed of a header: a day.
const EXPECTED_MAX_MS: u64 = 86_400_000;

/// What to look for.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// Whether somebody says whose requests are.
    pub(super) tenants: bool,
    /// Whether it matters how long a proxy waits: a request is cut here after some time.
    pub(super) patience: bool,
}

impl Watch {
    /// Returns it where there is something to look for.
    pub(super) fn new(tenants: bool, patience: bool) -> Option<Self> {
        (tenants || patience).then_some(Self { tenants, patience })
    }

    /// Looks at one request in sixteen.
    #[inline]
    pub(super) fn passes<A>(&self, control: &Control, request: &Request<A>) {
        if traffic::is_drawn() {
            self.look(control, request);
        }
    }

    #[cold]
    fn look<A>(&self, control: &Control, request: &Request<A>) {
        let value = |name: &HeaderName| request.headers().get(name)?.to_str().ok();
        if let Some(tenant) = control.shedder().whose(request).filter(|_| self.tenants) {
            control.traffic().tenants.saw(&tenant, clock::now());
        }
        if self.patience {
            let told = value(&EXPECTED).and_then(|it| it.parse::<u64>().ok());
            if let Some(ms) = told.filter(|ms| (1..=EXPECTED_MAX_MS).contains(ms)) {
                control.around().balancer_waits(Duration::from_millis(ms));
            }
        }
    }
}
