//! Memory for each connection: idle after a request, and in the middle of one.

use std::{fs, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Served, Subject,
    cores::Cores,
    figures::Row,
    load::{Body, Protocol},
    options::Options,
};

/// How often the memory is looked at until it does not change any more, and how long that may
/// take.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: u32 = 100;

/// Opens connections to a fresh server of each kind, and writes into its rows what they cost.
pub(super) fn measure(options: &Options, rows: &mut [Row]) -> io::Result<()> {
    for protocol in Protocol::ALL {
        eprintln!("{} memory", protocol.name());
        for subject in Subject::ALL {
            let [idle, active] = [Body::Small.path(), "/wait"].map(|path| {
                let served = Served::start(subject, 1, &Cores::default())?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(each(&served, protocol, path, options.connections()))
            });
            let (idle, active) = (idle?, active?);
            let of = |row: &&mut Row| row.subject == subject && row.protocol == protocol;
            for row in rows.iter_mut().filter(of) {
                row.bytes_per_idle_connection = Some(idle);
                row.bytes_per_active_connection = Some(active);
            }
        }
    }
    Ok(())
}

async fn each(served: &Served, protocol: Protocol, path: &str, count: usize) -> io::Result<i64> {
    // What the first few cost is the allocator's and the runtime's own.
    let _first = open(served, protocol, path, 8).await?;
    let before = settled(served).await?;
    let _more = open(served, protocol, path, count).await?;
    let bytes = settled(served).await? - before;
    Ok(bytes / i64::try_from(count).unwrap_or(i64::MAX))
}

/// Opens connections, each with one request. Its answer is waited for if there is to be one.
async fn open(
    served: &Served,
    protocol: Protocol,
    path: &str,
    count: usize,
) -> io::Result<Vec<TcpStream>> {
    let request = match protocol {
        Protocol::Http1 => format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes(),
        Protocol::Http2 => super::load::one_over_http2(path),
    };
    let mut all = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(served.address).await?;
        socket.write_all(&request).await?;
        if path != "/wait" {
            let mut bytes = [0; 1024];
            let mut got = Vec::new();
            while !got.ends_with(b"hello") {
                match socket.read(&mut bytes).await? {
                    0 => return Err(io::Error::other("the connection ended")),
                    read => got.extend(&bytes[..read]),
                }
            }
        }
        all.push(socket);
    }
    Ok(all)
}

/// Returns the process's own memory in bytes, once it does not change.
async fn settled(served: &Served) -> io::Result<i64> {
    let mut last = anonymous(served.process.id())?;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK).await;
        let now = anonymous(served.process.id())?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

fn anonymous(process: u32) -> io::Result<i64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<i64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("the kernel does not tell how much memory a process has"))
}
