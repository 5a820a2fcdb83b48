//! HTTP services that the service calls, as `--upstream` names them: one request each, and what
//! their certificate is.

use steadfast_diagnosis::{Http, Outcome, Path, Reach, Server, ServerKind, Tied, Via};

use super::ANSWER_WAIT;
use crate::{
    clock,
    collect::{Collected, Job},
    doctor::observe,
    probe::{Question, ask},
    target::Target,
};

/// Asks once.
pub(crate) async fn look(job: &Job<'_>, upstream: &Target) -> Collected {
    let mut seen = Collected::new();
    let question = Question {
        target: upstream,
        via: Via::Given,
        path: Path::Given,
        headers: &[],
        http: job.options.http,
        address: None,
        wait: job.within(ANSWER_WAIT),
    };
    let probe = ask(&question, clock::now()).await;
    let source = format!("GET {upstream}");
    let tied = Tied::dependency(&upstream.authority());
    let (kind, after) = (ServerKind::Http, probe.timing.total);
    let how = match probe.outcome {
        Outcome::Refused => Reach::Refused,
        Outcome::ConnectTimedOut => Reach::ConnectTimedOut,
        Outcome::Unroutable => Reach::Unroutable,
        Outcome::Silent => Reach::Silent,
        Outcome::Closed => Reach::Closed,
        Outcome::NotHttp => Reach::NotThisKind,
        Outcome::TlsFailed => Reach::TlsFailed,
        Outcome::NameUnknown => Reach::NameUnknown,
        _ => Reach::Answers,
    };
    seen.saw(&source, tied.clone(), Server::Reached { kind, how, after });
    observe::certificate(&probe, &source, &tied, &mut seen);
    if let Some(answer) = &probe.answer {
        let last = answer.status;
        let failed = u64::from(last >= 500 || last == 429);
        seen.saw(
            &source,
            tied.clone(),
            Http::Failing {
                failed,
                of: 1,
                last,
            },
        );
        if let Some(why) = answer.header("why-503") {
            seen.saw(&source, tied, Http::Why { text: why.into() });
        }
    }
    seen
}
