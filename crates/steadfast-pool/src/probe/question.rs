//! Something that a server was asked: a session, or a sign of life.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Mutex,
    task::Poll,
    time::{Duration, Instant},
};

use steadfast_core::{Deadline, Failure};
use tokio::time::timeout_at;

use super::{Answer, Server, Silent};
use crate::{
    clock,
    reach::{Reach, reach_at},
};

/// A question, and how long it has been waited for.
pub(super) struct Question<S: Server> {
    answer: Answer<S>,
    /// Whether a session is asked for.
    pub(super) is_connect: bool,
    pub(super) asked_at: Instant,
    /// For how long somebody has waited for the answer.
    pub(super) waited: Duration,
    reach: Reach,
}

impl<S: Server> Question<S> {
    pub(super) fn new(is_connect: bool, answer: Answer<S>) -> Self {
        Self {
            answer,
            is_connect,
            asked_at: clock::now(),
            waited: Duration::ZERO,
            reach: Reach::NotTried,
        }
    }

    pub(super) fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.asked_at)
    }

    /// Waits for the answer, `None` if it has not come. Connects beside the driver
    /// once in the life of a question, when most of the time is over.
    pub(super) async fn wait(
        &mut self,
        server: &S,
        until: Deadline,
    ) -> Option<Result<S::Session, S::Error>> {
        let since = clock::now();
        let answer = self.wait_or_reach(server, until).await;
        self.waited += clock::now().saturating_duration_since(since);
        answer
    }

    async fn wait_or_reach(
        &mut self,
        server: &S,
        until: Deadline,
    ) -> Option<Result<S::Session, S::Error>> {
        let reach_at = reach_at(until, clock::now());
        if let Ok(answer) = timeout_at(reach_at.into(), &mut self.answer).await {
            return Some(answer);
        }
        let (Reach::NotTried, Some(endpoint)) = (&self.reach, server.endpoint()) else {
            let answer = timeout_at(until.instant().into(), &mut self.answer).await;
            return answer.ok();
        };
        let seen = Mutex::new(Reach::NotTried);
        let answer = timeout_at(until.instant().into(), async {
            let mut reaching = pin!(server.reach(endpoint, &seen));
            let mut reached = false;
            poll_fn(|cx| {
                let answer = self.answer.as_mut().poll(cx);
                reached = reached || answer.is_pending() && reaching.as_mut().poll(cx).is_ready();
                match answer {
                    Poll::Ready(answer) => Poll::Ready(answer),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        })
        .await;
        let seen = seen.into_inner().expect("nothing panics while it is held");
        self.reach = seen.after(clock::now().saturating_duration_since(reach_at));
        answer.ok()
    }

    /// Says what it means that nothing was answered.
    pub(super) fn silent(&self, server: &S, on_old_session: bool) -> Failure {
        let for_ms = self.age().as_millis();
        let unheard = || {
            server.unheard(Silent {
                for_ms,
                on_old_session,
            })
        };
        match (&self.reach, server.endpoint()) {
            (Reach::NotTried, _) | (_, None) => unheard(),
            (reach, Some(endpoint)) => reach.explain(endpoint, for_ms),
        }
    }
}
