//! The shop as a process, and clients of it that wait.

use std::{ops::Deref, path::PathBuf, time::Duration};

use browser::Page;
use example_testing::{Answer, Example, eventually};
use tokio::task::JoinSet;

/// Opens the page.
pub(crate) const TOKEN: &str = "a-token-that-nobody-guesses";

/// A shop that runs.
#[derive(Debug)]
pub(crate) struct Shop(Example);

impl Shop {
    pub(crate) async fn start(environment: &[(&str, &str)]) -> Self {
        let mut all = vec![("ADDR", "127.0.0.1:0"), ("WHY503_TOKEN", TOKEN)];
        all.extend(environment);
        let shop = Example::start(&program(), &all).await.ready().await;
        Self(shop)
    }

    /// The address that opens the page, as the shop prints it for a token that it made.
    pub(crate) fn link(&self) -> String {
        format!("{}/why503/#token={TOKEN}", self.url())
    }

    /// Where the probe listener is, as the log says.
    pub(crate) fn probe_url(&self) -> String {
        let log = self.logged();
        let (_, after) = log.split_once("probe_listener=\"").expect("it is logged");
        let (address, _) = after.split_once('"').expect("a quote");
        format!("http://{address}")
    }

    /// Asks so many times at once, and leaves the answers open. What comes late has come
    /// when the page shows it. Work that is refused, because somebody else still has the place,
    /// is asked for again.
    pub(crate) async fn hold(&self, path: &str, times: usize) -> JoinSet<()> {
        let mut held = JoinSet::new();
        let works = path.starts_with("/work");
        for _ in 0..times {
            let (caller, path) = (self.caller(), path.to_owned());
            held.spawn(async move {
                let ask = || caller.try_ask(http::Method::GET, &path, &[], "");
                while ask().await.is_ok_and(|it| works && it.status == 503) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        if works {
            let caller = self.caller();
            let bearer = format!("Bearer {TOKEN}");
            eventually("they run", || async {
                let headers = [("authorization", bearer.as_str())];
                let page = caller
                    .ask(http::Method::GET, "/why503/", &headers, "")
                    .await;
                (page.json()["shed"]["in_flight"] == times).then_some(())
            })
            .await;
        }
        held
    }

    /// Takes a picture of the whole page, and keeps it for whoever looks at it where the
    /// variable `WHY503_PICTURES` names a directory.
    pub(crate) async fn picture(&self, page: &Page, situation: &str) {
        page.dark(false).await;
        let picture = page.picture().await;
        assert!(
            picture.len() > 10_000,
            "{situation}: {} bytes",
            picture.len()
        );
        if let Some(directory) = std::env::var_os("WHY503_PICTURES") {
            let file = std::path::Path::new(&directory).join(format!("{situation}.png"));
            std::fs::write(file, picture).expect("the picture is written");
        }
    }

    /// Asks twice a second until what is returned is dropped, so that what goes on is going
    /// on for as long as somebody looks.
    pub(crate) fn keep_asking(&self, path: &str) -> JoinSet<()> {
        self.keep_asking_from(path, 1)
    }

    /// The same from several clients, each of which waits for its answer.
    pub(crate) fn keep_asking_from(&self, path: &str, clients: usize) -> JoinSet<()> {
        let mut asking = JoinSet::new();
        for _ in 0..clients {
            let (caller, path) = (self.caller(), path.to_owned());
            asking.spawn(async move {
                loop {
                    let _ = caller.try_ask(http::Method::GET, &path, &[], "").await;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
        }
        asking
    }
}

impl Deref for Shop {
    type Target = Example;

    fn deref(&self) -> &Example {
        &self.0
    }
}

/// The id that the client of a refusal was told.
pub(crate) fn id(refused: &Answer) -> String {
    let why = refused.header("why-503");
    let (_, id) = why.split_once("id=\"").expect("an id");
    id.split('"').next().expect("a quote").to_owned()
}

/// The shop that was built beside this test, as `cargo test --workspace` does; alone,
/// `cargo build -p shop` builds it.
fn program() -> String {
    let this = std::env::current_exe().expect("a path");
    // …/target/debug/deps/this
    let directory = this
        .ancestors()
        .nth(2)
        .expect("a directory of what was built");
    let shop: PathBuf = directory.join("shop");
    assert!(
        shop.is_file(),
        "build it first, with `cargo build -p shop`: {}",
        shop.display()
    );
    shop.to_str().expect("UTF-8").to_owned()
}
