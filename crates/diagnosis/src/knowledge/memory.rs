//! Memory and disks: what is short, who was killed for it, what is full.

use super::effects::at_the_proxy;
use crate::{
    Cgroup,
    Confidence::{Likely, Possible, Proven},
    Host, Id, LogKind, Observation as O, Own, Process, Ratio, Resource, Role, Wire,
    engine::Strength::{Direct, Pressure},
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::HostOomKill,
        role: Role::Fault,
        title: "The kernel killed it for want of memory",
        means: "The group's limit or the host's memory was met and nothing could be taken back, so the kernel ended a process. If it was the service, or a worker of it, requests were cut and new ones refused until it was up again.",
        outside: "Cut connections, then refused ones, then a service that starts.",
        inside: "oom_kill in memory.events grows, the kernel's log says *Killed process*, the unit's result is oom-kill, Kubernetes says OOMKilled.",
        threshold: "A kill between the samples or in the window that names the service or its group.",
        fix: "See what grew: a leak, bodies or results held whole in memory, too many at once. Raise the limit if the use is right, and run fewer workers if each needs that much.",
        commands: &[
            "dmesg -T | grep -i 'killed process' | tail",
            "cat /sys/fs/cgroup/memory.events",
        ],
        effects: at_the_proxy![
            Id::AppCrashLoop,
            Id::AppNotListening,
            Id::AppStarting,
            Id::K8sOomKilled,
            Id::AppForeign503,
            Id::AppOwn503
        ],
        judge: |view, found| {
            for (fact, (name, count, ours)) in view.pick(|seen| match seen {
                O::Host(Host::OomKill { name, count, ours }) => Some((name, *count, *ours)),
                _ => None,
            }) {
                match (count, ours) {
                    (0, _) => {
                        found.well(fact);
                    }
                    (_, true) => {
                        found
                            .find(
                                fact,
                                Proven,
                                Direct,
                                format!(
                                    "The kernel killed {name} for want of memory, {count} times."
                                ),
                            )
                            .from("1");
                    }
                    (_, false) => {
                        found.find(fact, Possible, Pressure, format!("The kernel killed {name} for want of memory, {count} times; that is another process of the host."));
                    }
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Cgroup(Cgroup::MemoryEvents { oom_kill, .. }) if *oom_kill > 0 => {
                    Some(format!("The kernel killed {oom_kill} processes of the service's group for want of memory."))
                }
                O::Process(Process::Unit { result, .. }) if result.as_str() == "oom-kill" => {
                    Some("The unit's last end was a kill for want of memory.".to_owned())
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::HostMemPressure,
        role: Role::Fault,
        title: "Memory is short",
        means: "The group is near its limit, or tasks wait for memory to be taken back. Everything becomes slow before anything is killed.",
        outside: "Slow answers, then time-outs; refusals with `rule=memory`.",
        inside: "memory.current beside memory.max, memory.events, and the pressure file of memory.",
        threshold: "All tasks waited in 10 % of the last ten seconds, or 92 % of the limit is used without what can be taken back.",
        fix: "Run fewer requests at once, bound what each holds in memory, look for what grows. Raise the limit if the use is right.",
        commands: &[
            "cat /proc/pressure/memory /sys/fs/cgroup/memory.events",
            "ps -o rss,cmd -p PID",
        ],
        effects: &[
            Id::HostOomKill,
            Id::AppShed,
            Id::AppRuntimeLag,
            Id::AppSlowHandler,
            Id::AppHung,
            Id::HostIoStall,
            Id::AppForeign503,
        ],
        judge: |view, found| {
            for (fact, full) in view.pick(|seen| match seen {
                O::Host(Host::Pressure {
                    on: Resource::Memory,
                    full,
                    ..
                })
                | O::Cgroup(Cgroup::Pressure {
                    on: Resource::Memory,
                    full,
                    ..
                }) => Some(*full),
                _ => None,
            }) {
                if full.get() >= 0.1 {
                    found
                        .find(
                            fact,
                            Likely,
                            Pressure,
                            format!(
                                "All tasks waited for memory in {full} of the last ten seconds."
                            ),
                        )
                        .from("10 %");
                } else {
                    found.well(fact);
                }
            }
            for (fact, (used, max)) in view.pick(|seen| match seen {
                O::Cgroup(Cgroup::Memory { used, max }) | O::Own(Own::Memory { used, max, .. }) => {
                    Some((*used, *max))
                }
                _ => None,
            }) {
                let share = Ratio::of(used.0, max.0);
                if share.get() >= 0.92 {
                    found
                        .find(
                            fact,
                            Likely,
                            Direct,
                            format!("{share} of the group's memory is used: {used} of {max}."),
                        )
                        .from("92 %");
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::Memory { used, max, refusing: true }) => Some(format!("{used} of {max} of the group's memory are used, and requests are refused to save the rest.")),
                O::Wire(Wire::Why { rule: Some(steadfast_core::Rule::Memory), .. }) => {
                    Some("The service refuses because its memory is nearly used up.".to_owned())
                }
                _ => None,
            });
            let room = view.all(|seen| {
                matches!(
                    seen,
                    O::Own(Own::Memory {
                        refusing: false,
                        ..
                    })
                )
            });
            for (fact, count) in view.pick(|seen| match seen {
                O::Own(Own::Refusing {
                    rule: Some(steadfast_core::Rule::Memory),
                    count,
                    last,
                    ..
                }) if *last <= super::lately() => Some(*count),
                _ => None,
            }) {
                let is = if room.is_empty() { "is" } else { "was" };
                let says = format!(
                    "{count} requests were refused because the group's memory {is} nearly used up."
                );
                let case = found.find(fact, Proven, Direct, says);
                room.iter().for_each(|fact| {
                    case.but(fact);
                });
            }
        },
    },
    Row {
        id: Id::HostIoStall,
        role: Role::Fault,
        title: "Tasks wait for a disk",
        means: "The disk is slower than what is asked of it. A service that writes its log, or a database on the same disk, stands still with it.",
        outside: "Slow answers on routes that touch the disk, or on all if the log does.",
        inside: "The pressure file of io; processes in state D and what they wait in (wchan).",
        threshold: "All tasks waited in 20 % of the last ten seconds. A suspect: other processes of the host count too.",
        fix: "Find who writes. Move logs and databases apart; look at the volume's own limits in a cloud.",
        commands: &[
            "cat /proc/pressure/io",
            "iostat -x 1 3",
            "ps -eo state,pid,wchan:30,cmd | grep '^D'",
        ],
        effects: &[
            Id::AppSlowHandler,
            Id::AppHung,
            Id::PgLocks,
            Id::DepHung,
            Id::AppShed,
            Id::PoolApp,
            Id::PoolStuck,
            Id::AppForeign503,
        ],
        judge: |view, found| {
            let waits = view.all(|seen| {
                matches!(
                    seen,
                    O::Process(Process::State {
                        is: crate::RunState::Disk
                    })
                )
            });
            for (fact, full) in view.pick(|seen| match seen {
                O::Host(Host::Pressure {
                    on: Resource::Io,
                    full,
                    ..
                })
                | O::Cgroup(Cgroup::Pressure {
                    on: Resource::Io,
                    full,
                    ..
                }) => Some(*full),
                _ => None,
            }) {
                if full.get() >= 0.2 {
                    let sure = if waits.is_empty() { Possible } else { Likely };
                    let case = found
                        .find(
                            fact,
                            sure,
                            Pressure,
                            format!(
                                "All tasks waited for a disk in {full} of the last ten seconds."
                            ),
                        )
                        .from("20 %");
                    waits.iter().for_each(|fact| {
                        case.cite(fact);
                    });
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::HostDiskFull,
        role: Role::Fault,
        title: "A file system is full",
        means: "No block or no inode is left where the service, its log or its database writes. Databases stop writing, services fail in odd places, and some cannot even say so.",
        outside: "500 or 503 on writes; a database that takes none.",
        inside: "Free blocks and free inodes for ordinary users (statvfs) of those mounts.",
        threshold: "None left; below 2 % it is a suspect.",
        fix: "Make room: rotate logs, remove what is old, grow the volume. Files that were deleted and are still open take room until their process is restarted.",
        commands: &["df -h NAME", "df -i NAME", "lsof +L1"],
        effects: &[
            Id::PgReadOnly,
            Id::RedisMisconf,
            Id::PgDown,
            Id::DepFailing,
            Id::MysqlReadOnly,
            Id::RabbitBlocked,
            Id::AppOwn503,
            Id::AppForeign503,
            Id::AppCrashLoop,
        ],
        judge: |view, found| {
            for (fact, (at, free, bytes, inodes)) in view.pick(|seen| match seen {
                O::Host(Host::Disk {
                    at,
                    free,
                    free_bytes,
                    free_inodes,
                }) => Some((at, *free, *free_bytes, *free_inodes)),
                _ => None,
            }) {
                if bytes.0 == 0 || inodes.get() <= 0.0 {
                    let what = if bytes.0 == 0 { "room" } else { "inode" };
                    found
                        .find(fact, Proven, Direct, format!("No {what} is left on {at}."))
                        .from("none")
                        .with("NAME", at);
                } else if free.get() < 0.02 || inodes.get() < 0.02 {
                    found
                        .find(
                            fact,
                            Possible,
                            Pressure,
                            format!("{free} of {at} is free, and {inodes} of its inodes."),
                        )
                        .from("2 %")
                        .with("NAME", at);
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Process(Process::LogLine {
                    about: LogKind::NoSpace,
                    count,
                    ..
                }) => Some(format!(
                    "The service's log says {count} times that no space was left."
                )),
                _ => None,
            });
        },
    },
];
