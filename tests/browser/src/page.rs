//! A tab.

use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{WAIT_MAX, axe, wire::Wire};

/// The text of the document.
const TEXT: &str = "document.body ? document.body.innerText : ''";

/// A tab of the browser, with cookies of its own.
#[derive(Debug)]
pub struct Page {
    wire: Wire,
    session: String,
}

impl Page {
    pub(crate) async fn open(wire: Wire) -> Self {
        let context = wire
            .call(None, "Target.createBrowserContext", json!({}))
            .await;
        let target = json!({
            "url": "about:blank",
            "browserContextId": context["browserContextId"],
        });
        let target = wire.call(None, "Target.createTarget", target).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = wire.call(None, "Target.attachToTarget", attach).await;
        let session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        let page = Self { wire, session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        self.wire.call(Some(&self.session), method, params).await
    }

    /// Goes to an address and waits until the document is whole.
    pub async fn go(&self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.until(
            "the document is whole",
            "document.readyState === 'complete'",
        )
        .await;
    }

    /// Turns scripts off, or on, from the next document on.
    pub async fn scripts(&self, on: bool) {
        let params = json!({ "value": !on });
        self.call("Emulation.setScriptExecutionDisabled", params)
            .await;
    }

    /// Makes the window this large, as a phone's or a desk's.
    pub async fn size(&self, width: u32, height: u32, scale: f64) {
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", params)
            .await;
    }

    /// Prefers dark colours, or light ones.
    pub async fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        let params = json!({ "features": features });
        self.call("Emulation.setEmulatedMedia", params).await;
    }

    /// Sends these headers with each request.
    pub async fn headers(&self, headers: Value) {
        let params = json!({ "headers": headers });
        self.call("Network.setExtraHTTPHeaders", params).await;
    }

    /// Returns what an expression is; a promise is waited for. It must only read: where the
    /// document gives way to the next one meanwhile, that one is asked.
    pub async fn eval(&self, expression: &str) -> Value {
        self.wait("a document that stays", expression, |_| true)
            .await
    }

    /// Returns the text of the document.
    pub async fn text(&self) -> String {
        self.eval(TEXT)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Does something to the document that is there.
    async fn act(&self, script: &str) {
        let done = self.try_eval(script).await;
        done.unwrap_or_else(|error| panic!("{script}: {error}"));
    }

    /// Returns what an expression is, or why nobody can say: a document that gives way to
    /// the next one while it is asked answers nothing.
    async fn try_eval(&self, expression: &str) -> Result<Value, Value> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let answer = self
            .wire
            .try_call(Some(&self.session), "Runtime.evaluate", params)
            .await?;
        let fault = &answer["exceptionDetails"];
        if !fault.is_null() {
            // Of a document that has only begun, too: it has no element yet.
            return Err(fault.clone());
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub async fn until(&self, what: &str, expression: &str) {
        let wrapped =
            format!("Boolean((()=>{{try{{return {expression}}}catch(e){{return false}}}})())");
        self.wait(what, &wrapped, |value| *value == json!(true))
            .await;
    }

    /// Waits until the document says all of these.
    pub async fn says(&self, parts: &[&str]) {
        let what = format!("the page to say {parts:?}");
        self.wait(&what, TEXT, |value| {
            let text = value.as_str().unwrap_or_default();
            parts.iter().all(|part| text.contains(part))
        })
        .await;
    }

    /// Waits until what an expression is will do, and returns it. Documents may come and go
    /// meanwhile.
    async fn wait(&self, what: &str, expression: &str, will_do: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            match self.try_eval(expression).await {
                Ok(value) if will_do(&value) => return value,
                last if begun.elapsed() > WAIT_MAX => {
                    let text = self.try_eval(TEXT).await;
                    panic!("waited in vain for {what}: {last:?}; the page is:\n{text:?}");
                }
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Types a text into a field and sends its form with the button that has these words.
    pub async fn fill(&self, fields: &[(&str, &str)], button: &str) {
        for (id, text) in fields {
            let (id, text) = (json!(id), json!(text));
            let set = format!("document.getElementById({id}).value = {text}");
            self.act(&set).await;
        }
        let press = format!(
            "[...document.querySelectorAll('button')].find(it => it.innerText === {}).click()",
            json!(button)
        );
        self.act(&press).await;
    }

    /// Returns the whole document as a picture (PNG).
    pub async fn picture(&self) -> Vec<u8> {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", params).await;
        let data = answer["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data);
        bytes.expect("base64")
    }

    /// Returns the picture of what is in the window.
    pub async fn window(&self) -> Vec<u8> {
        let answer = self
            .call("Page.captureScreenshot", json!({ "format": "png" }))
            .await;
        let data = answer["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data);
        bytes.expect("base64")
    }

    /// Returns the rules of WCAG 2.2 AA, and what is good practice, that the page breaks:
    /// one line each.
    pub async fn axe(&self) -> Vec<String> {
        // By the protocol, because the page's own policy lets no other script in; at once, for
        // the document that is asked to be the one that has it.
        let run = "axe.run(document, {resultTypes: ['violations']}).then(it => JSON.stringify(it.violations))";
        let found = self.eval(&format!("{};{run}", axe())).await;
        let found: Value = serde_json::from_str(found.as_str().expect("text")).expect("JSON");
        let found = found.as_array().expect("a list").iter();
        found
            .map(|it| {
                let nodes = it["nodes"].as_array().expect("a list");
                let nodes: Vec<_> = nodes.iter().take(3).map(|it| &it["html"]).collect();
                format!("{} ({}): {nodes:?}", it["id"], it["help"])
            })
            .collect()
    }

    /// Returns what the console said that is wrong.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let events = self.wire.events(&self.session);
        let wrong = events.iter().filter_map(|event| {
            let params = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" if params["type"] == "error" => {
                    Some(params["args"].to_string())
                }
                "Log.entryAdded" if params["entry"]["level"] == "error" => {
                    Some(params["entry"].to_string())
                }
                _ => None,
            }
        });
        wrong.collect()
    }

    /// Returns every address that was asked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let events = self.wire.events(&self.session);
        let asked = events
            .iter()
            .filter(|it| it["method"] == "Network.requestWillBeSent");
        asked
            .filter_map(|it| it["params"]["request"]["url"].as_str().map(str::to_owned))
            .collect()
    }
}
