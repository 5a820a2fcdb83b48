//! A gRPC service as `tonic-prost-build` would write it from this `.proto`, by hand, so
//! that the example builds without `protoc`:
//!
//! ```proto
//! syntax = "proto3";
//! package hello;
//! service Greeter { rpc SayHello (HelloRequest) returns (HelloReply); }
//! message HelloRequest { string name = 1; uint32 wait_ms = 2; }
//! message HelloReply { string text = 1; }
//! ```

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::uri::PathAndQuery;
use tonic::{
    Request, Response, Status, body::Body, codegen::StdError, server::NamedService,
    transport::Channel,
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

const SAY_HELLO: &str = "/hello.Greeter/SayHello";

/// Longest wait that a caller may ask for.
const WAIT_MS_MAX: u32 = 60_000;

/// Who is greeted, and after how long.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HelloRequest {
    /// Who.
    #[prost(string, tag = "1")]
    pub name: String,
    /// After how many milliseconds.
    #[prost(uint32, tag = "2")]
    pub wait_ms: u32,
}

/// The greeting.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HelloReply {
    /// In words.
    #[prost(string, tag = "1")]
    pub text: String,
}

async fn say_hello(request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
    let HelloRequest { name, wait_ms } = request.into_inner();
    if wait_ms > WAIT_MS_MAX {
        return Err(Status::invalid_argument(format!(
            "wait_ms {wait_ms}; allowed is 0 to {WAIT_MS_MAX}"
        )));
    }
    tokio::time::sleep(Duration::from_millis(wait_ms.into())).await;
    Ok(Response::new(HelloReply {
        text: format!("hello {name}"),
    }))
}

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "hello.Greeter";
}

impl<B> Service<http::Request<B>> for Greeter
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Box::pin(async move {
            Ok(if request.uri().path() == SAY_HELLO {
                let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
                grpc.unary(service_fn(say_hello), request).await
            } else {
                Status::unimplemented("there is no such method").into_http()
            })
        })
    }
}

/// Calls the service.
///
/// # Errors
/// What the service answered, or that it was not reached.
pub async fn call(channel: Channel, request: HelloRequest) -> Result<HelloReply, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| Status::unknown(error.to_string()))?;
    let codec = ProstCodec::<HelloRequest, HelloReply>::default();
    let path = PathAndQuery::from_static(SAY_HELLO);
    Ok(client
        .unary(Request::new(request), path, codec)
        .await?
        .into_inner())
}
