//! The payments service for those who have none: a server of its own on a free port of
//! this machine, asked by the same client and the same check as a real one would be, and
//! broken on demand.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::{Charge, Receipt};

/// How it answers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Working,
    /// Every answer is a 500.
    Failing,
    /// There is no answer.
    Hanging,
}

/// The switch. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StandIn(Arc<Mutex<Mode>>);

impl StandIn {
    /// Starts the server and returns its switch and its URL.
    pub(crate) async fn start() -> io::Result<(Self, String)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let switch = Self::default();
        let app = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/charges", post(charge))
            .layer(middleware::from_fn_with_state(switch.clone(), misbehave));
        // It ends with the process: whoever leaves last may still want to pay.
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok((switch, url))
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn charge(Json(charge): Json<Charge>) -> Response {
    if charge.cents <= 0 {
        return StatusCode::PAYMENT_REQUIRED.into_response();
    }
    // The same order gets the same receipt, so a repeated charge is no second one.
    let receipt = format!("paid-{}", charge.order.simple());
    Json(Receipt { receipt }).into_response()
}

async fn misbehave(State(switch): State<StandIn>, request: Request, next: Next) -> Response {
    match switch.mode() {
        Mode::Working => next.run(request).await,
        Mode::Failing => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mode::Hanging => std::future::pending().await,
    }
}
