//! The operator's page: what state the instance is in, what it refused and why, and what
//! would fix it; for people as HTML, for tools as JSON.
//!
//! | request | answer |
//! |---|---|
//! | `GET /why503/` | everything; HTML if the client prefers it, else JSON |
//! | `GET /why503/events` | the same as it changes, as server-sent events |
//! | `GET /why503/{id}`, `GET /why503/find?id=…` | the refusals behind one id: ours, a request's or a trace's |
//! | `POST /why503/` | signs a browser in, by a form |
//! | `PUT /why503/maintenance?reason=…&for=10m` | begins maintenance; `DELETE` ends it; `POST` does either, by a form |
//! | `POST /why503/drain` | begins to leave; `GET` tells how far that is |
//!
//! Reading is for whoever shows the token, has signed in with it, or comes in where only
//! operators do. An order needs the token itself, as a bearer's or typed into the form that
//! gives the order: what a browser adds by itself, a cookie, orders nothing, so no page of
//! somebody else can make one.
//!
//! Everything is made from snapshots in memory, outside every gate. A request that is not
//! for the guard's own paths pays nothing for it.

pub(crate) mod drain;
pub(crate) mod events;
pub(crate) mod findings;
mod form;
mod maintenance;
mod page;
mod view;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use self::{
    form::Form,
    view::{SCHEMA, View, entries::RefusalEntry},
};
use super::{
    access::Access,
    answer as probe,
    paths::{Door, OwnPaths, ProbeState, under},
    session::{self, Hold},
};
use crate::{
    clock,
    refusal::negotiate::{Form as Wanted, form as wanted_form},
    request::body::OwnBody,
};

const JSON: &str = "application/json";

/// What a form said, or why it could not be read.
pub(super) type Read = Result<String, &'static str>;

/// A request for the page, with what is known of it.
struct Ask<'a> {
    state: &'a ProbeState,
    rest: &'a str,
    parts: &'a Parts,
    html: bool,
    may_read: bool,
    may_order: bool,
    form: Option<Result<Form, &'static str>>,
}

/// Whether the request brings a form that has to be read first.
pub(super) fn reads_a_form(_own_paths: &OwnPaths, parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    parts.method == Method::POST && kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Answers a request below the operator's path, and says whether the answer waits.
pub(super) fn answer(
    own_paths: &OwnPaths,
    door: Door,
    parts: &Parts,
    form: Option<Read>,
) -> (Response<OwnBody>, Hold) {
    let state = &*own_paths.0;
    let rest = under(parts.uri.path(), &state.paths.operator).unwrap_or_default();
    let ask = Ask {
        state,
        rest,
        parts,
        html: wanted_form(parts.headers.get(header::ACCEPT)) == Wanted::Html,
        may_read: state.may_read(door, parts),
        may_order: state.access.may_order(parts),
        form: form.map(|read| read.map(|text| Form::parse(&text))),
    };
    if ask.rest == "events" && ask.may_read && parts.method == Method::GET {
        return (events::answer(own_paths, door, parts), Hold::None);
    }
    let (response, hold) = ask.answer();
    let response = probe::finish(response, &parts.method);
    (response.map(OwnBody::Text), hold)
}

impl Ask<'_> {
    fn answer(&self) -> (Response<Full<Bytes>>, Hold) {
        let control = &self.state.control;
        if let Some(Err(fault)) = &self.form {
            return (self.bad_request(fault), Hold::None);
        }
        let response = match (self.rest, &self.parts.method) {
            ("", &Method::POST) => return self.sign_in(),
            ("sign-out", &Method::POST) => self.to_the_page(Some(session::no_cookie(self.path()))),
            ("maintenance", &Method::PUT | &Method::POST | &Method::DELETE) => {
                return self.ordered(|| maintenance::order(self));
            }
            ("drain", _) if drain::is_order(self.parts) => {
                return self.ordered(|| drain::begin(control));
            }
            (_, &Method::GET | &Method::HEAD) if !self.may_read => return self.stranger(),
            ("", &Method::GET | &Method::HEAD) if self.html => self.page(),
            ("", &Method::GET | &Method::HEAD) => {
                json_answer(StatusCode::OK, &View::of(self.state))
            }
            ("maintenance", &Method::GET | &Method::HEAD) => {
                json_answer(StatusCode::OK, &maintenance::state(control))
            }
            ("drain", &Method::GET | &Method::HEAD) => {
                json_answer(StatusCode::OK, &drain::state(control))
            }
            ("find", &Method::GET | &Method::HEAD) => {
                let query = Form::parse(self.parts.uri.query().unwrap_or_default());
                self.look_up(query.get("id").trim())
            }
            (id, &Method::GET | &Method::HEAD) => self.look_up(id),
            ("maintenance", _) => probe::method_not_allowed("GET, HEAD, PUT, POST, DELETE"),
            ("drain", _) => probe::method_not_allowed("GET, HEAD, POST"),
            _ => probe::method_not_allowed("GET, HEAD"),
        };
        (response, Hold::None)
    }

    /// Carries an order out if the request shows the token: as a bearer, or typed.
    fn ordered(
        &self,
        order: impl FnOnce() -> Response<Full<Bytes>>,
    ) -> (Response<Full<Bytes>>, Hold) {
        if self.may_order {
            return (order(), Hold::None);
        }
        let Some(Ok(form)) = &self.form else {
            return self.unauthorised();
        };
        if !self.state.access.is_token(form.get("token")) {
            return self.wrong_token("That is not the token, so nothing was done.");
        }
        let done = order();
        match done.status().is_success() {
            true => (self.to_the_page(None), Hold::None),
            false => (done, Hold::None),
        }
    }

    /// Gives a browser its cookie for the token.
    fn sign_in(&self) -> (Response<Full<Bytes>>, Hold) {
        let Some(Ok(form)) = &self.form else {
            let detail = "Signing in needs a form with the field `token`.";
            return (self.bad_request(detail), Hold::None);
        };
        let typed = form.get("token").trim();
        let Some(token) = self
            .state
            .access
            .token
            .as_deref()
            .filter(|_| self.state.access.is_token(typed))
        else {
            return self.wrong_token("That is not the token.");
        };
        let secure = self
            .parts
            .headers
            .get("x-forwarded-proto")
            .is_some_and(|scheme| scheme == "https");
        let cookie = session::cookie(token, self.path(), secure, clock::now());
        (self.to_the_page(Some(cookie)), Hold::None)
    }

    /// Answers somebody who may not read: people are asked for the token. The form is what
    /// they came for and no failure, which a browser would tell its user.
    fn stranger(&self) -> (Response<Full<Bytes>>, Hold) {
        if self.html && !Access::shows_one(self.parts) {
            let page = page::sign_in(self.state, &self.home(), None);
            return (page::answer(StatusCode::OK, page), Hold::None);
        }
        self.unauthorised()
    }

    fn unauthorised(&self) -> (Response<Full<Bytes>>, Hold) {
        let detail = match self.state.access.token {
            Some(_) => "Send the operator's token as `Authorization: Bearer …`.",
            None => {
                "No token is set, so nobody may; set one, or say that only operators come here."
            }
        };
        match Access::shows_one(self.parts) {
            true => self.wrong_token(detail),
            false => (unauthorised(detail), Hold::None),
        }
    }

    /// Counts a wrong token. The answer may have to wait, and says so when too many do.
    fn wrong_token(&self, detail: &str) -> (Response<Full<Bytes>>, Hold) {
        let hold = self.state.attempts.failed(clock::now());
        if hold == Hold::Full {
            let detail = "Too many wrong tokens at once; try again in a few seconds.";
            let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", detail);
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
            return (response, hold);
        }
        let response = match self.form.is_some() && self.html {
            true => {
                let page = page::sign_in(self.state, &self.home(), Some(detail));
                page::answer(StatusCode::UNAUTHORIZED, page)
            }
            false => unauthorised(detail),
        };
        (response, hold)
    }

    fn page(&self) -> Response<Full<Bytes>> {
        let view = View::of(self.state);
        let signed_in = self.state.access.is_signed_in(self.parts);
        let page = page::whole(&view, &self.home(), signed_in);
        page::answer(StatusCode::OK, page)
    }

    fn look_up(&self, id: &str) -> Response<Full<Bytes>> {
        let found = self.state.control.explain().find(id);
        let found: Vec<_> = found.iter().map(RefusalEntry::recalled).collect();
        let status = match found.is_empty() {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::OK,
        };
        let id = shown_id(id);
        if self.html {
            let page = page::look_up(self.state, &self.home(), &id, &found);
            return page::answer(status, page);
        }
        let found = Found {
            schema: SCHEMA,
            id,
            refusals: found,
        };
        json_answer(status, &found)
    }

    fn bad_request(&self, detail: &str) -> Response<Full<Bytes>> {
        problem(StatusCode::BAD_REQUEST, "Bad request", detail)
    }

    /// Sends a browser that has posted a form back to the page.
    fn to_the_page(&self, cookie: Option<HeaderValue>) -> Response<Full<Bytes>> {
        let mut response = probe::answer(StatusCode::SEE_OTHER, probe::TEXT, "see the page\n");
        let headers = response.headers_mut();
        let home = HeaderValue::try_from(self.home()).expect("dots and a path that was checked");
        headers.insert(header::LOCATION, home);
        headers.extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
        response
    }

    fn path(&self) -> &str {
        &self.state.paths.operator
    }

    /// The way from the address that was asked for to the page, so that links work behind a
    /// proxy that has put a prefix in front.
    fn home(&self) -> String {
        let path = self.parts.uri.path();
        let below = path.rsplit('/').next().unwrap_or_default();
        match (self.rest.is_empty(), path.ends_with('/')) {
            (true, true) => "./".to_owned(),
            (true, false) => format!("./{below}/"),
            (false, slash) => {
                let steps = self.rest.matches('/').count() + usize::from(slash);
                match steps {
                    0 => "./".to_owned(),
                    steps => "../".repeat(steps),
                }
            }
        }
    }
}

/// What was found for an id.
#[derive(Serialize)]
struct Found {
    schema: &'static str,
    id: String,
    refusals: Vec<RefusalEntry>,
}

/// Longest id that is given back; ours has 36 characters, a request's at most 128.
const ID_SHOWN_MAX: usize = 128;

fn shown_id(id: &str) -> String {
    steadfast_core::plumbing::inert(id)
        .chars()
        .take(ID_SHOWN_MAX)
        .collect()
}

fn unauthorised(detail: &str) -> Response<Full<Bytes>> {
    let mut response = problem(StatusCode::UNAUTHORIZED, "Not authorised", detail);
    let challenge = HeaderValue::from_static("Bearer realm=\"why503\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn problem(status: StatusCode, title: &str, detail: &str) -> Response<Full<Bytes>> {
    let problem = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    json_answer(status, &problem)
}

pub(super) fn json_answer(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let mut text = serde_json::to_string(value).expect("texts, numbers and lists of them");
    text.push('\n');
    let mut response = probe::answer(status, JSON, text);
    let vary = HeaderValue::from_static("accept");
    response.headers_mut().insert(header::VARY, vary);
    response
}
