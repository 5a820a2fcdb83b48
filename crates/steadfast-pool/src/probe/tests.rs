use std::io;

use tokio::time::sleep;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A server that takes its time to open a session and to answer on it.
struct Slow {
    opens_in: Duration,
    answers_in: Duration,
    /// How many were opened.
    opened: Mutex<usize>,
    /// What is answered on a session that stands.
    breaks: bool,
}

impl Slow {
    fn new(opens_in: Duration) -> Self {
        Self {
            opens_in,
            answers_in: Duration::ZERO,
            opened: Mutex::default(),
            breaks: false,
        }
    }

    fn opened(&self) -> usize {
        *self.opened.lock().expect("nobody has panicked")
    }
}

impl Server for Slow {
    type Session = usize;
    type Error = io::Error;

    fn open(&self) -> Answer<Self> {
        let (wait, number) = (self.opens_in, self.opened());
        *self.opened.lock().expect("nobody has panicked") += 1;
        Box::pin(async move {
            sleep(wait).await;
            Ok(number)
        })
    }

    fn ping(&self, session: usize) -> Answer<Self> {
        let (wait, breaks) = (self.answers_in, self.breaks);
        Box::pin(async move {
            sleep(wait).await;
            if breaks {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(session)
        })
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        None
    }

    async fn reach(&self, _: &Endpoint, _: &Mutex<Reach>) {}

    async fn failure(&self, error: io::Error, _: Deadline) -> Failure {
        Failure::new(FailureClass::Unreachable, error.to_string())
    }

    fn unheard(&self, silent: Silent) -> Failure {
        let class = if silent.on_old_session {
            FailureClass::Stuck
        } else {
            FailureClass::Timeout
        };
        Failure::new(class, format!("{} ms", silent.for_ms))
    }
}

/// So much is left of `whole`.
fn left(left: Duration, whole: Duration) -> Patience {
    let until = clock::now() + left;
    Patience::new(Deadline::at(until), until - whole)
}

fn whole(whole: Duration) -> Patience {
    left(whole, whole)
}

#[tokio::test(start_paused = true)]
async fn one_session_answers_reading_after_reading_and_a_younger_one_takes_its_place() {
    let server = Slow::new(MS);
    let probe = Probe::default();
    for (reading, is_new) in [true, false, false].into_iter().enumerate() {
        let answered = probe
            .ask(&server, whole(900 * MS))
            .await
            .expect("it is well");
        assert_eq!(
            (answered.session, answered.is_new),
            (0, is_new),
            "{reading}"
        );
        probe.keep(answered.session);
    }
    let younger = probe.renew(&server, whole(900 * MS)).await;
    let younger = younger.expect("it had time").expect("it is well");
    probe.keep(younger.session);
    let answered = probe
        .ask(&server, whole(900 * MS))
        .await
        .expect("it is well");
    assert_eq!(answered.session, 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_not_answered_is_asked_anew_only_when_it_is_old() {
    let server = Slow::new(3600 * 1000 * MS);
    let probe = Probe::default();
    for _ in 0..3 {
        let trouble = probe
            .ask(&server, whole(900 * MS))
            .await
            .expect_err("it hangs");
        assert_eq!(trouble.failure.class(), FailureClass::Timeout);
        assert!(!trouble.spares_old());
    }
    assert_eq!(server.opened(), 1);
    sleep(QUESTION_AGE_MAX).await;
    let _hangs = probe.ask(&server, whole(900 * MS)).await;
    assert_eq!(server.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_falls_silent_is_told_from_one_that_was_never_given() {
    let mut server = Slow::new(MS);
    let probe = Probe::default();
    let answered = probe
        .ask(&server, whole(900 * MS))
        .await
        .expect("it is well");
    probe.keep(answered.session);
    server.answers_in = 3600 * 1000 * MS;
    let trouble = probe
        .ask(&server, whole(900 * MS))
        .await
        .expect_err("it hangs");
    assert_eq!(trouble.failure.class(), FailureClass::Stuck);
    assert!(probe.is_silent());
}

/// Goal: an old session that broke accuses nobody while a new one can be asked, and is told as
/// what it is when there is no time for that.
#[tokio::test(start_paused = true)]
async fn an_old_session_that_breaks_is_asked_anew_if_there_is_time() {
    let mut server = Slow::new(MS);
    let probe = Probe::default();
    probe.keep(7);
    server.breaks = true;
    server.answers_in = 800 * MS;
    let trouble = probe
        .ask(&server, whole(900 * MS))
        .await
        .expect_err("it broke");
    assert!(
        trouble.failure.message().contains("broken pipe"),
        "{trouble:?}"
    );
    assert!(!trouble.spares_old());
    assert_eq!(server.opened(), 0, "there was no time left for a new one");

    probe.keep(7);
    server.answers_in = MS;
    let trouble = probe
        .ask(&server, whole(900 * MS))
        .await
        .expect_err("each breaks");
    assert_eq!(trouble.failure, closes(None));
    assert!(trouble.spares_old());
    assert_eq!(server.opened(), 2);
}

/// Goal: with little time left nobody is accused. Method: a server that never answers is asked
/// for a new session in ends of runs, and then in a whole one.
#[tokio::test(start_paused = true)]
async fn with_little_time_left_nobody_is_accused() {
    let server = Slow::new(3600 * 1000 * MS);
    let probe = Probe::default();
    let run = 900 * MS;
    assert!(probe.renew(&server, left(449 * MS, run)).await.is_none());
    assert_eq!(server.opened(), 0, "it is asked in the next run");
    let first = probe.renew(&server, left(10 * MS, 20 * MS)).await;
    assert!(first.is_none(), "it may be slow");
    for _ in 0..3 {
        let hasty = probe.renew(&server, left(100 * MS, run)).await;
        assert!(hasty.is_none(), "it had 310 ms of 450 at most");
    }
    let told = probe.renew(&server, whole(run)).await;
    assert!(matches!(told, Some(Err(_))), "{told:?}");
}
