//! A request for the operator's page on its way: its form is read, within bounds, and the
//! answer to a wrong token is held back.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http::{Response, request::Parts};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Sleep;

use super::{
    operator,
    paths::{Door, OwnPaths},
    session::Hold,
};
use crate::request::body::OwnBody;

/// Longest form that is read; the page's own have a reason and a token.
const FORM_LEN_MAX: usize = 8 * 1024;

/// Longest wait for a form's bytes.
const FORM_TIME_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[pin_project]
pub(crate) struct PageRequest<A> {
    own_paths: OwnPaths,
    door: Door,
    parts: Parts,
    #[pin]
    step: Step<A>,
}

#[pin_project(project = StepProjection)]
enum Step<A> {
    Begun(Option<A>),
    Reading {
        #[pin]
        body: A,
        text: Vec<u8>,
        #[pin]
        longest: Sleep,
    },
    HeldBack {
        #[pin]
        sleep: Sleep,
        answer: Option<Response<OwnBody>>,
        place: HeldBackPlace,
    },
    Done,
}

/// A place among the answers that are held back. Dropped, it is free.
struct HeldBackPlace(OwnPaths);

impl Drop for HeldBackPlace {
    fn drop(&mut self) {
        self.0.0.attempts.released();
    }
}

impl<A> PageRequest<A> {
    pub(super) const fn new(own_paths: OwnPaths, door: Door, parts: Parts, body: A) -> Self {
        Self {
            own_paths,
            door,
            parts,
            step: Step::Begun(Some(body)),
        }
    }
}

impl<A: Body> Future for PageRequest<A> {
    type Output = Response<OwnBody>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<OwnBody>> {
        let mut this = self.project();
        loop {
            let form = match this.step.as_mut().project() {
                StepProjection::Begun(body) => {
                    let body = body.take().expect("it is read once");
                    if operator::reads_a_form(this.own_paths, this.parts) {
                        this.step.set(Step::Reading {
                            body,
                            text: Vec::new(),
                            longest: tokio::time::sleep(FORM_TIME_MAX),
                        });
                        continue;
                    }
                    None
                }
                StepProjection::Reading {
                    body,
                    text,
                    longest,
                } => Some(match ready!(read(body, text, longest, cx)) {
                    Ok(()) => Ok(String::from_utf8_lossy(text).into_owned()),
                    Err(fault) => Err(fault),
                }),
                StepProjection::HeldBack { sleep, answer, .. } => {
                    ready!(sleep.poll(cx));
                    let answer = answer.take().expect("it is given once");
                    this.step.set(Step::Done);
                    return Poll::Ready(answer);
                }
                StepProjection::Done => unreachable!("a future is not polled after it is ready"),
            };
            let (answer, hold) = operator::answer(this.own_paths, *this.door, this.parts, form);
            let Hold::For(time) = hold else {
                this.step.set(Step::Done);
                return Poll::Ready(answer);
            };
            this.step.set(Step::HeldBack {
                sleep: tokio::time::sleep(time),
                answer: Some(answer),
                place: HeldBackPlace(this.own_paths.clone()),
            });
        }
    }
}

/// Reads a form to its end, unless it is too long, too slow or broken.
fn read<A: Body>(
    mut body: Pin<&mut A>,
    text: &mut Vec<u8>,
    longest: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), &'static str>> {
    if longest.poll(cx).is_ready() {
        return Poll::Ready(Err("the form did not come within 10 s"));
    }
    loop {
        let frame = match ready!(body.as_mut().poll_frame(cx)) {
            None => return Poll::Ready(Ok(())),
            Some(Err(_)) => return Poll::Ready(Err("the form did not come to its end")),
            Some(Ok(frame)) => frame,
        };
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if text.len() + data.remaining() > FORM_LEN_MAX {
            return Poll::Ready(Err("the form is longer than 8 KiB"));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            text.extend_from_slice(chunk);
            data.advance(length);
        }
    }
}

impl<A> fmt::Debug for PageRequest<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither head nor form: both may hold the token.
        f.debug_struct("PageRequest")
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}
