//! What a person who has just started the shop can try.

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::SocketAddr,
};

use crate::settings::Token;

/// Says where it listens, in the first line, and what to try. Whoever started it may have
/// closed the other end of standard output; the shop serves all the same.
pub(crate) fn print(url: &str, token: &Token, stand_in: bool, metrics: Option<SocketAddr>) {
    let metrics = metrics.map_or_else(String::new, |at| {
        format!("metrics on http://{at}/metrics\n")
    });
    let text = format!(
        "listening on {url}\n{metrics}{}",
        to_try(url, token, stand_in)
    );
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn to_try(url: &str, token: &Token, stand_in: bool) -> String {
    let shown = if token.made {
        &token.value
    } else {
        "$WHY503_TOKEN"
    };
    let operator = format!("-H 'authorization: Bearer {shown}'").replace(
        "'authorization: Bearer $WHY503_TOKEN'",
        "\"authorization: Bearer $WHY503_TOKEN\"",
    );
    // Behind the hash, which no browser sends: so the token is in no log and no referrer.
    let page = match token.made {
        true => format!("{url}/why503/#token={}", token.value),
        false => format!("{url}/why503/ in a browser, with the token typed"),
    };
    let mut text = format!(
        "
try, in another terminal:
  curl {url}/products
  curl {url}/orders --json '{{\"customer\":\"Ada\",\"lines\":[{{\"product\":1,\"quantity\":2}}]}}'
  curl -X POST {url}/pay/ID-OF-THE-ORDER
  curl {url}/ready/
  curl {url}/health/
why something was refused, for the operator only:
  {page}
  curl {operator} {url}/why503/
"
    );
    if stand_in {
        let switch = format!("curl -X PUT {operator} '{url}/stand-in/payments?mode=");
        let _ = write!(
            text,
            "break payments, and mend it again:\n  {switch}failing'\n  {switch}working'\n"
        );
    }
    text.push_str("all of it at once: cargo run -p shop -- storm\nend with Ctrl-C\n");
    text
}
