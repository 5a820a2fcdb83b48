//! Goal: no bytes of a stranger make a protocol panic, hang or run away. Method: bytes that begin
//! as each protocol does and go on as they like, from a server that then hangs up.
//!
//! More than the default number of bytes: `PROPTEST_CASES=10000000 cargo test --release -p why503 hostile`.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::select};
use tokio::io::AsyncWriteExt;

use super::{
    address::{Address, Kind},
    dns, greeting, mysql, postgres, redis,
};
use crate::wire::Wire;

const BEGINNINGS: &[&[u8]] = &[
    b"",
    b"E\0\0\0\x20",
    b"R\0\0\0\x08",
    b"N\0\0\0\x05\0",
    b"\x20\0\0\0\x0a",
    b"\x20\0\0\0\xff",
    b"*3\r\n",
    b"$5\r\n",
    b"-ERR ",
    b":1",
    b"STAT a b\r\n",
    b"END\r\n",
    b"\x01\0\0\0\0\0\x10\0\x0a\0\x0a",
    b"AMQP\0\0\x09\x01",
    b"\0\0\0\x0a\0\0\x05\x03",
    b"\x50\x03\x81\x83",
    b"HTTP/1.1 200 OK\r\n",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = (select(BEGINNINGS), vec(any::<u8>(), 0..24));
    vec(part, 1..6).prop_map(|parts| {
        let parts = parts
            .iter()
            .map(|(begin, rest)| [begin, &rest[..]].concat());
        parts.collect::<Vec<_>>().concat()
    })
}

async fn wire(bytes: &[u8]) -> Wire {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let _ = theirs.write_all(bytes).await;
    let _ = theirs.shutdown().await;
    Wire::over(ours, crate::clock::now() + Duration::from_secs(1))
}

proptest! {
    #[test]
    fn hostile_servers_are_left(bytes in bytes()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let _ = postgres::startup::ask(&mut wire(&bytes).await, "u", "d").await;
            let _ = mysql::handshake::listen(&mut wire(&bytes).await).await;
            let _ = redis::resp::read(&mut wire(&bytes).await).await;
            let _ = greeting::memcached(&mut wire(&bytes).await).await;
            let _ = greeting::amqp(&mut wire(&bytes).await).await;
            let _ = greeting::kafka(&mut wire(&bytes).await).await;
        });
        let _ = dns::question::read(&bytes, b"\x50\x03");
    }

    #[test]
    fn hostile_texts_are_read(text in ".{0,60}") {
        let _ = redis::info::Info::read(&text);
        let _ = dns::Resolver::read("x", &text);
        let _ = dns::question::write(&text);
        let _ = Address::parse(Kind::Postgres, &text);
        let _ = Address::parse(Kind::Redis, &format!("redis://{text}"));
    }
}
