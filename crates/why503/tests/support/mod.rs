//! Small servers that answer as they are told, and the doctor beside them.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::disallowed_methods,
    reason = "a process beside the test is bounded by real time"
)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// A header by which a test tells its own requests from those of a doctor that asks every service
/// of the host.
pub(crate) const MINE: [&str; 2] = ["-H", "x-mine: 1"];

/// A run may take this long on a busy machine; the doctor's own budget is 15 s.
const RUN_MAX: Duration = Duration::from_secs(40);

/// A server on a port of its own, which ends with the test.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves each connection with this, on a thread of its own.
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it has an address");
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Self {
            addr,
            asked: Arc::default(),
        }
    }

    /// Answers each request by its path, and remembers their heads.
    pub(crate) fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let server = Self::start(move |mut stream| {
            let head = head(&mut stream);
            let path = head.split(' ').nth(1).unwrap_or("").to_owned();
            noted.lock().expect("no test panics in here").push(head);
            let _ = stream.write_all(answer(&path).as_bytes());
        });
        Self { asked, ..server }
    }

    /// Always the same bytes.
    pub(crate) fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut stream| {
            head(&mut stream);
            let _ = stream.write_all(&bytes);
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// The paths that were asked for with [`MINE`], in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked_with("x-mine: 1")
    }

    /// The paths of the requests that bear this header.
    pub(crate) fn asked_with(&self, header: &str) -> Vec<String> {
        let all = self.asked.lock().expect("no test panics in here");
        let mine = all.iter().filter(|it| it.contains(header));
        mine.map(|it| it.split(' ').nth(1).unwrap_or("").to_owned())
            .collect()
    }
}

/// An answer with this status, these headers and this body.
pub(crate) fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|it| format!("{it}\r\n")).collect();
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Reads the head of a request.
pub(crate) fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16_384 {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Runs the doctor, without what the environment of the tests would tell it.
pub(crate) fn why503(arguments: &[&str]) -> Output {
    let begin = Instant::now();
    let output = command(arguments).output().expect("the doctor runs");
    assert!(begin.elapsed() < RUN_MAX, "it took {:?}", begin.elapsed());
    output
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_why503"));
    command.args(arguments).stdin(Stdio::null());
    for name in [
        "WHY503_TOKEN",
        "WHY503_PG",
        "WHY503_PGBOUNCER",
        "WHY503_MYSQL",
        "WHY503_REDIS",
        "NO_COLOR",
        "COLUMNS",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs the doctor for JSON, and gives that with the exit code, after it was held against the schema.
pub(crate) fn json(arguments: &[&str]) -> (i32, Value) {
    let all: Vec<&str> = ["--json"]
        .iter()
        .chain(&MINE)
        .chain(arguments)
        .copied()
        .collect();
    let output = why503(&all);
    let code = output.status.code().expect("it ended by itself");
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    conforms(&document);
    assert_eq!(document["exit"], code);
    (code, document)
}

/// Panics if the document is not what the schema promises.
pub(crate) fn conforms(document: &Value) {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/why503-report.schema.json"
    );
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(file).expect("the schema is there"))
            .expect("it is JSON");
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    compiler
        .add_resource("report.json", schema)
        .expect("it is a schema");
    let index = compiler
        .compile("report.json", &mut schemas)
        .expect("it compiles");
    if let Err(error) = schemas.validate(document, index) {
        panic!("{error:#}\n{document:#}");
    }
}

/// The id of the verdict.
pub(crate) fn verdict(document: &Value) -> &str {
    document["verdict"]["id"].as_str().unwrap_or("none")
}
