//! An HTTP upstream, of which only traffic tells.

use super::{
    super::watch::{Plan, Seen, observe},
    Expected, Situation, app,
};
use crate::stack::upstream::{self, Mood, Upstream};

const PLAN: Plan = Plan::of(upstream::NAME);

pub(super) fn situations() -> Vec<Situation> {
    vec![
        Situation::new(
            "upstream-429",
            "every answer is 429 with Retry-After: 60, at 1 request a second",
            Expected::says(&["429"]).for_good(),
            || Box::pin(moody(PLAN.at(1.0), Mood::TooMany(60))),
        )
        .quick(),
        Situation::new(
            "upstream-429-often-asked",
            "the same, at 10 requests a second",
            Expected::says(&["429"]).for_good(),
            || Box::pin(moody(PLAN, Mood::TooMany(60))),
        ),
        Situation::new(
            "upstream-503",
            "every answer is 503, at 10 requests a second",
            Expected::says(&["503"]),
            || Box::pin(moody(PLAN, Mood::Unavailable)),
        ),
        Situation::new(
            "upstream-503-slowly-asked",
            "every answer is 503, at 2 requests a second",
            Expected::says(&["503"]),
            || Box::pin(moody(PLAN.at(2.0), Mood::Unavailable)),
        ),
        Situation::new(
            "upstream-silent",
            "no answer comes, at 10 requests a second",
            Expected::says(&[
                "no answer",
                "answer",
                "timed out",
                "silent",
                "stuck",
                "hang",
            ])
            .hangs(),
            || Box::pin(moody(PLAN, Mood::Silent)),
        ),
        Situation::new(
            "upstream-1-of-10",
            "1 of 10 answers is 500: the dependency is well enough",
            Expected::innocent(),
            || Box::pin(moody(PLAN.harmless(), Mood::Failing(1))),
        ),
    ]
}

async fn moody(plan: Plan, mood: Mood) -> Seen {
    let mut server = Upstream::start().await;
    let dependency = upstream::dependency();
    let app = app(upstream::guarded(server.url(), &dependency), &dependency);
    observe(
        &app,
        &plan,
        &mut server,
        |server| server.be(mood),
        |server| server.be(Mood::Well),
    )
    .await
}
