//! What the kernel keeps apart: control groups with a quota, and network namespaces, as every
//! container has both. They need root, and nobody else sees them.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::Mutex,
    time::Duration,
};

use super::{EXPLAINED, Scenario, UNREACHABLE, WELL};
use crate::{
    app::App,
    stage::{Side, Stage, until},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "cpu-throttled",
        is: "a control group cuts the processor time of the service to a tenth of one",
        says: &["host.cpu_throttled"],
        exit: EXPLAINED,
        quick: false,
        set_up: |side| match side {
            Side::Sick => {
                let app = App::start("burning");
                let group = Group::holding(app.pid()).expect("root may make a control group");
                Stage::at(app.port).keep(group).keep(app)
            }
            Side::Well => {
                let app = App::start("ok");
                Stage::at(app.port).keep(app)
            }
        },
    },
    Scenario {
        name: "container-paused",
        is: "in a network namespace of its own, the process was stopped by a signal",
        says: &["app.hung"],
        exit: &[10, 20],
        quick: false,
        set_up: |side| {
            let space = Namespace::new();
            let app = space.app("ok", Ipv4Addr::UNSPECIFIED);
            if side == Side::Sick {
                app.pause();
            }
            space.stage(app.port).keep(app)
        },
    },
    Scenario {
        name: "container-wrong-bind",
        is: "in a network namespace of its own, the service listens on loopback alone",
        says: &["app.wrong_bind"],
        exit: UNREACHABLE,
        quick: false,
        set_up: |side| {
            let space = Namespace::new();
            let app = space.app(
                "ok",
                match side {
                    Side::Sick => Ipv4Addr::LOCALHOST,
                    Side::Well => Ipv4Addr::UNSPECIFIED,
                },
            );
            space.stage(app.port).keep(app)
        },
    },
    Scenario {
        name: "decoy-old-overflows",
        is: "decoy: the accept queue overflowed before anybody looked, in a namespace of its own",
        says: &[],
        exit: WELL,
        quick: false,
        set_up: |side| {
            let space = Namespace::new();
            let app = space.app("ok", Ipv4Addr::UNSPECIFIED);
            if side == Side::Sick {
                let deaf = space.app("deaf", Ipv4Addr::UNSPECIFIED);
                let mut held = Vec::new();
                until("its queue has overflowed", || {
                    held.push(space.knock(deaf.port));
                    overflows(app.pid()) >= 20
                });
                // Whoever waits gives up before the listener goes: nothing grows after this.
                drop(held);
            }
            space.stage(app.port).keep(app)
        },
    },
];

/// `ListenOverflows` of the namespace in which a process is.
fn overflows(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/net/netstat")).unwrap_or_default();
    let mut lines = text.lines().filter(|it| it.starts_with("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(name, _)| *name == "ListenOverflows");
    found.and_then(|(_, it)| it.parse().ok()).unwrap_or(0)
}

/// A control group of its own, of whichever version this machine has.
struct Group(PathBuf);

impl Group {
    /// Makes one that has a tenth of a processor, and puts a process into it.
    fn holding(pid: u32) -> io::Result<Self> {
        let name = format!("why503-{}", std::process::id());
        let old = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
            .into_iter()
            .find(|it| fs::exists(format!("{it}/cpu.cfs_quota_us")).unwrap_or(false));
        let (root, quota, value) = match old {
            Some(root) => (root, "cpu.cfs_quota_us", "10000"),
            None => {
                let root = "/sys/fs/cgroup";
                fs::write(format!("{root}/cgroup.subtree_control"), "+cpu")?;
                (root, "cpu.max", "10000 100000")
            }
        };
        let group = Self(PathBuf::from(root).join(name));
        fs::create_dir_all(&group.0)?;
        fs::write(group.0.join(quota), value)?;
        fs::write(group.0.join("cgroup.procs"), pid.to_string())?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A network namespace with one address, to which a pair of interfaces leads.
struct Namespace {
    name: String,
    address: Ipv4Addr,
}

impl Namespace {
    fn new() -> Self {
        static COUNT: Mutex<u16> = Mutex::new(0);
        let mut last = COUNT.lock().expect("nothing panics while it counts");
        *last = last.wrapping_add(1);
        let count = *last;
        drop(last);
        let id = std::process::id();
        let name = format!("w{id}x{count}");
        // One of the 16,384 networks of four addresses, by who asks.
        let [high, low] = (u16::try_from(id % 4096).unwrap_or(0) * 4 + count % 4).to_be_bytes();
        let ours = Ipv4Addr::new(10, 203, high << 2 | low >> 6, low << 2 | 1);
        let theirs = Ipv4Addr::new(10, 203, high << 2 | low >> 6, low << 2 | 2);
        let (near, far) = (format!("{name}a"), format!("{name}b"));
        ip(&format!("netns add {name}"));
        let space = Self {
            name,
            address: theirs,
        };
        let name = &space.name;
        ip(&format!(
            "link add {near} type veth peer name {far} netns {name}"
        ));
        ip(&format!("addr add {ours}/30 dev {near}"));
        ip(&format!("link set {near} up"));
        ip(&format!("-n {name} addr add {theirs}/30 dev {far}"));
        ip(&format!("-n {name} link set {far} up"));
        ip(&format!("-n {name} link set lo up"));
        space
    }

    fn app(&self, kind: &str, at: Ipv4Addr) -> App {
        App::start_by(&["ip", "netns", "exec", &self.name], kind, (at, 0).into())
    }

    /// Begins a connection, and waits for a moment.
    fn knock(&self, port: u16) -> Option<TcpStream> {
        let addr = SocketAddr::from((self.address, port));
        TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok()
    }

    /// A set around the service at a port of it.
    fn stage(self, port: u16) -> Stage {
        let url = format!("http://{}:{port}/", self.address);
        let mut stage = Stage::default();
        stage.url = url;
        stage.keep(self)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The pair of interfaces goes with it.
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments}: {status}; it needs root");
}
