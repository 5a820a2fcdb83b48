//! Transfers that make progress are never cut, and peers that make none are gone by a bound:
//! over HTTP/1 and HTTP/2, up and down. Method: small bounds, bytes and frames written by
//! hand, claims about order and count. The bounds are so far apart from what is waited for
//! that a slow machine makes a test late and not wrong.

mod common;

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    routing::{get, post},
};
use common::{
    frames::{DATA, Frames, GOAWAY, HEADERS, RST_STREAM},
    leaver::{SECOND, Server, at_once, read_to, send},
    soon, until,
};
use futures_util::stream;
use http_body_util::BodyExt;
use steadfast::{Connections, Guard, Priority, RouteClass, Shed, Streams};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep},
};
