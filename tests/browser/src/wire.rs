//! Commands and events of the DevTools protocol over a WebSocket.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

use crate::WAIT_MAX;

type Answers = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;
type Events = Arc<Mutex<HashMap<String, Vec<Value>>>>;

/// A connection; its clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    send: mpsc::UnboundedSender<Message>,
    next: Arc<AtomicU64>,
    answers: Answers,
    events: Events,
}

impl Wire {
    pub(crate) async fn connect(url: &str) -> Self {
        let mut config = WebSocketConfig::default();
        // A screenshot is one message.
        config.max_message_size = Some(256 << 20);
        config.max_frame_size = Some(256 << 20);
        let connected = tokio_tungstenite::connect_async_with_config(url, Some(config), false);
        let (socket, _) = connected.await.expect("a WebSocket to chromium");
        let (mut out, mut incoming) = socket.split();
        let (send, mut queue) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if out.send(message).await.is_err() {
                    return;
                }
            }
        });
        let (answers, events) = (Answers::default(), Events::default());
        let (to_whom, kept) = (Arc::clone(&answers), Arc::clone(&events));
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                let Ok(text) = message.into_text() else {
                    continue;
                };
                let Ok(message) = serde_json::from_str::<Value>(&text) else {
                    continue;
                };
                match message["id"].as_u64() {
                    Some(id) => {
                        let waits = to_whom.lock().expect("no panic").remove(&id);
                        if let Some(waits) = waits {
                            let _ = waits.send(message);
                        }
                    }
                    None => {
                        let session = message["sessionId"].as_str().unwrap_or_default();
                        let mut kept = kept.lock().expect("no panic");
                        kept.entry(session.to_owned()).or_default().push(message);
                    }
                }
            }
        });
        Self {
            send,
            next: Arc::default(),
            answers,
            events,
        }
    }

    /// Gives a command that succeeds, and returns its result.
    pub(crate) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let result = self.try_call(session, method, params).await;
        result.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Gives a command and returns its result, or the error that the browser answers with.
    pub(crate) async fn try_call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = json!(session);
        }
        let (tell, told) = oneshot::channel();
        self.answers.lock().expect("no panic").insert(id, tell);
        let text = Message::text(command.to_string());
        self.send.send(text).expect("chromium is there");
        let answer = timeout(WAIT_MAX, told).await;
        let answer = answer
            .unwrap_or_else(|_| panic!("no answer to {method}"))
            .expect("chromium is there");
        match &answer["error"] {
            Value::Null => Ok(answer["result"].clone()),
            error => Err(error.clone()),
        }
    }

    /// Returns the events of a session so far.
    pub(crate) fn events(&self, session: &str) -> Vec<Value> {
        let events = self.events.lock().expect("no panic");
        events.get(session).cloned().unwrap_or_default()
    }
}
