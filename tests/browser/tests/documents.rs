//! Documents that give way to each other while a test waits.
//!
//! Goal: a test waits for what a page says at last; a document that goes while it is asked
//! is no failure.

use browser::Browser;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Documents that go at once, before the one that stays.
const GO: usize = 100;

#[tokio::test]
async fn documents_that_go_while_they_are_asked_are_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut asked = 0;
        loop {
            let (mut client, _) = listener.accept().await.expect("a client");
            let mut request = [0; 4096];
            let read = client.read(&mut request).await.unwrap_or_default();
            let document = if !request[..read].starts_with(b"GET / ") {
                "nothing is here"
            } else if asked < GO {
                asked += 1;
                "going<script>location.reload()</script>"
            } else {
                "staying"
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                document.len()
            );
            let _ = client.write_all((head + document).as_bytes()).await;
        }
    });
    let browser = Browser::start().await;
    let page = browser.page().await;
    page.go(&format!("http://{address}/")).await;
    page.says(&["staying"]).await;
}
