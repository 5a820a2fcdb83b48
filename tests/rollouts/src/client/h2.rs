//! HTTP/2 over plain TCP, for a client that understands GOAWAY.
//!
//! A stream that the server says it did not look at counts as refused: the client knows
//! that nothing happened, as it does after a refused connect.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use tokio::{net::TcpStream, time::timeout};

use super::{ANSWER_MAX, Answer, Fault, Method, h1::BODY};
use crate::subject::{ID, INSTANCE, LEAVING};

/// One connection; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    sender: SendRequest<Bytes>,
}

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// [`Fault::Refused`]: no request was sent.
    pub async fn open(address: SocketAddr) -> Result<Self, Fault> {
        let opened = timeout(ANSWER_MAX, TcpStream::connect(address)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        Self::over(opened.map_err(Fault::Refused)?).await
    }

    /// Sends its half of the handshake.
    ///
    /// # Errors
    /// [`Fault::Refused`]: no request was sent.
    pub async fn over(stream: TcpStream) -> Result<Self, Fault> {
        stream.set_nodelay(true).map_err(Fault::Refused)?;
        let shaken = timeout(ANSWER_MAX, ::h2::client::handshake(stream)).await;
        let shaken = shaken.map_err(|_| Fault::Refused(io::ErrorKind::TimedOut.into()))?;
        let (sender, connection) =
            shaken.map_err(|error| Fault::Refused(io::Error::other(error)))?;
        tokio::spawn(async move {
            // Its end shows at each stream and at the next request.
            let _ = connection.await;
        });
        Ok(Self { sender })
    }

    /// Whether it takes another request; false once GOAWAY has come.
    pub async fn is_open(&mut self) -> bool {
        // Waits only if the server allows no more streams at the moment.
        let ready = timeout(ANSWER_MAX, self.sender.clone().ready()).await;
        match ready {
            Ok(Ok(sender)) => {
                self.sender = sender;
                true
            }
            _ => false,
        }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// There is no answer, or not all of it.
    pub async fn send(
        &mut self,
        address: SocketAddr,
        method: Method,
        path: &str,
        id: &str,
    ) -> Result<Answer, Fault> {
        let request = http::Request::builder()
            .method(method.name())
            .uri(format!("http://{address}{path}"))
            .header(ID, id)
            .body(())
            .expect("a request");
        let body = method == Method::Post;
        let (response, mut stream) = self
            .sender
            .send_request(request, !body)
            .map_err(|error| Fault::Refused(io::Error::other(error)))?;
        let exchange = async {
            if body {
                stream.send_data(Bytes::from_static(BODY.as_bytes()), true)?;
            }
            let (head, mut body) = response.await?.into_parts();
            let mut whole = Vec::new();
            while let Some(part) = body.data().await {
                let part = part?;
                body.flow_control().release_capacity(part.len())?;
                whole.extend_from_slice(&part);
            }
            let instance = head.headers.get(INSTANCE).and_then(|it| it.to_str().ok());
            Ok::<_, h2::Error>(Answer {
                status: head.status.as_u16(),
                instance: instance.map(str::to_owned),
                leaving: head.headers.contains_key(LEAVING),
                close: false,
                body: whole,
            })
        };
        let done = timeout(ANSWER_MAX, exchange).await;
        done.map_or_else(
            |_| Err(Fault::Lost(io::ErrorKind::TimedOut.into())),
            |done| done.map_err(fault),
        )
    }
}

fn fault(error: h2::Error) -> Fault {
    let unseen =
        error.is_go_away() && error.is_remote() || error.reason() == Some(Reason::REFUSED_STREAM);
    let error = io::Error::other(error);
    if unseen {
        Fault::Refused(error)
    } else {
        Fault::Lost(error)
    }
}
