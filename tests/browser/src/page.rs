//! A tab.

use std::{future::Future, time::Duration};

use base64::Engine;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{WAIT_MAX, axe, wire::Wire};

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

    /// Returns what an expression is; a promise is waited for.
    pub async fn eval(&self, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let answer = self.call("Runtime.evaluate", params).await;
        let fault = &answer["exceptionDetails"];
        assert!(fault.is_null(), "{expression}: {fault:#}");
        answer["result"]["value"].clone()
    }

    /// Returns the text of the document.
    pub async fn text(&self) -> String {
        let text = self
            .eval("document.body ? document.body.innerText : ''")
            .await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true.
    pub async fn until(&self, what: &str, expression: &str) {
        let wrapped =
            format!("Boolean((()=>{{try{{return {expression}}}catch(e){{return false}}}})())");
        self.wait(what, async || self.eval(&wrapped).await == json!(true))
            .await;
    }

    /// Waits until the document says all of these.
    pub async fn says(&self, parts: &[&str]) {
        let what = format!("the page to say {parts:?}");
        self.wait(&what, async || {
            let text = self.text().await;
            parts.iter().all(|part| text.contains(part))
        })
        .await;
    }

    async fn wait<F: Future<Output = bool>>(&self, what: &str, is: impl Fn() -> F) {
        let begun = Instant::now();
        while !is().await {
            if begun.elapsed() > WAIT_MAX {
                panic!(
                    "waited in vain for {what}; the page is:\n{}",
                    self.text().await
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Types a text into a field and sends its form with the button that has these words.
    pub async fn fill(&self, fields: &[(&str, &str)], button: &str) {
        for (id, text) in fields {
            let (id, text) = (json!(id), json!(text));
            let set = format!("document.getElementById({id}).value = {text}");
            self.eval(&set).await;
        }
        let press = format!(
            "[...document.querySelectorAll('button')].find(it => it.innerText === {}).click()",
            json!(button)
        );
        self.eval(&press).await;
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
        // By the protocol, because the page's own policy lets no other script in.
        self.eval(&format!("{};true", axe())).await;
        let found = self
            .eval("axe.run(document, {resultTypes: ['violations']}).then(it => JSON.stringify(it.violations))")
            .await;
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
