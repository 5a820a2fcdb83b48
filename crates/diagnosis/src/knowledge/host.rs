//! Kernel and host.

use std::time::Duration;

use super::effects::at_the_proxy;
use crate::{
    Cgroup,
    Confidence::{Likely, Possible, Proven},
    Host, Id, KernelLog, Lasting, LogKind, Observation as O, Own, Process, Ratio, Resource, Role,
    engine::Strength::{Direct, Pressure},
    knowledge::Row,
};

/// What becomes slow or empty when the processor or memory is short.
const SLOWED: &[Id] = &[
    Id::AppRuntimeLag,
    Id::AppShed,
    Id::AppSlowHandler,
    Id::AppHung,
    Id::AppWorkersBusy,
    Id::AppWorkerTimeout,
    Id::PoolApp,
    Id::PoolStuck,
    Id::HostAcceptQueueFull,
    Id::ProbeSlow,
    Id::HapServerTimeout,
    Id::HapQueueTimeout,
    Id::NgxTimeout,
    Id::EnvoyUt,
    Id::TraefikTimeout,
    Id::ProxyUpstreamSlow,
    Id::AppForeign503,
];

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::HostFdExhausted,
        role: Role::Fault,
        title: "The process has no descriptor left",
        means: "Each connection, file and pipe takes a descriptor, and the process has as many as its soft limit allows. It cannot accept, so clients connect to the kernel's queue and are never answered; it cannot open a file or a connection to its database either.",
        outside: "Connections succeed and are never answered; or 500 and 503 from whatever could not be opened.",
        inside: "The entries of /proc/PID/fd beside `Max open files` in /proc/PID/limits; the accept queue grows; the log says EMFILE or *too many open files*.",
        threshold: "Two or fewer left, since the last ones are used and freed all the time. From 90 % it is a suspect.",
        fix: "Raise the unit's LimitNOFILE for now. Then see what the descriptors are: many to one place are connections that nobody closes.",
        commands: &[
            "ls -l /proc/PID/fd | awk '{print $NF}' | sed 's/[0-9]*]//' | sort | uniq -c | sort -rn | head",
            "grep 'open files' /proc/PID/limits",
            "systemctl edit UNIT   # [Service] LimitNOFILE=65536",
        ],
        effects: at_the_proxy![
            Id::AppHung,
            Id::HostAcceptQueueFull,
            Id::AppOwn503,
            Id::AppForeign503,
            Id::AppRuntimeLag
        ],
        judge: |view, found| {
            for (fact, (used, max)) in view.pick(|seen| match seen {
                O::Process(Process::Descriptors { used, max }) => Some((*used, *max)),
                _ => None,
            }) {
                if max > 0 && used.saturating_add(2) >= max {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!("The process uses {used} of {max} descriptors."),
                        )
                        .from(format!("{} of them", max.saturating_sub(2)));
                } else if Ratio::of(used, max).get() >= 0.9 {
                    found
                        .find(
                            fact,
                            Possible,
                            Pressure,
                            format!("The process uses {used} of {max} descriptors."),
                        )
                        .from("90 %");
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Process(Process::LogLine {
                    about: LogKind::NoDescriptors,
                    count,
                    ..
                }) => Some(format!(
                    "The service's log says {count} times that no descriptor was left."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::HostFileTable,
        role: Role::Fault,
        title: "The host's file table is full",
        means: "The kernel's bound on open files of all processes together is met, so many programs fail at once.",
        outside: "Many services of the host fail together.",
        inside: "The first and third number of /proc/sys/fs/file-nr; ENFILE; the kernel's *file-max limit reached*.",
        threshold: "95 % of fs.file-max.",
        fix: "Find who holds them, then raise fs.file-max.",
        commands: &["cat /proc/sys/fs/file-nr", "sysctl -w fs.file-max=…"],
        effects: at_the_proxy![Id::AppHung, Id::HostFdExhausted, Id::AppForeign503],
        judge: |view, found| {
            for (fact, (used, max)) in view.pick(|seen| match seen {
                O::Host(Host::FileTable { used, max }) => Some((*used, *max)),
                _ => None,
            }) {
                if Ratio::of(used, max).get() >= 0.95 {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!("{used} of {max} files of the host are open."),
                        )
                        .from("95 %");
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Host(Host::Kernel {
                    about: KernelLog::FileTableFull,
                    ..
                }) => Some("The kernel's log says that the file table is full.".to_owned()),
                _ => None,
            });
        },
    },
    Row {
        id: Id::HostCpuThrottled,
        role: Role::Fault,
        title: "The quota cuts the processor time",
        means: "The control group may use so much processor time in each period (100 ms by default), and had used it before the period was over, so all its threads stood still until the next one. The host looks idle meanwhile.",
        outside: "Latency in steps of tens of milliseconds; the slow tail grows long before the processor looks busy.",
        inside: "nr_throttled and nr_periods in cpu.stat of the group, and the lost time: throttled_usec in version 2, throttled_time in nanoseconds in version 1.",
        threshold: "A quarter of the periods, of at least five, between two samples. From 5 % it is a suspect: a short burst does that too.",
        fix: "Raise the quota, or lower the number of threads that run at once: a runtime that starts one worker for each processor of the host uses up a small quota in the first part of each period.",
        commands: &[
            "cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu.max",
            "systemctl set-property UNIT CPUQuota=200%",
        ],
        effects: SLOWED,
        judge: |view, found| {
            for (fact, share) in view.pick(|seen| match seen {
                O::Cgroup(Cgroup::Cut { ratio }) => Some(*ratio),
                _ => None,
            }) {
                let says = format!("The quota cut {share} of the last scheduling periods.");
                if share.get() >= 0.25 {
                    found.find(fact, Proven, Direct, says).from("25 %");
                } else if share.get() >= 0.05 {
                    found.find(fact, Possible, Pressure, says).from("5 %");
                } else {
                    found.well(fact);
                }
            }
            for (fact, (periods, cut, lost)) in view.pick(|seen| match seen {
                O::Cgroup(Cgroup::Throttled { periods, cut, lost }) => {
                    Some((*periods, *cut, *lost))
                }
                _ => None,
            }) {
                let share = Ratio::of(cut, periods);
                let says = format!(
                    "The quota cut {cut} of {periods} periods; {} of processor time were lost.",
                    Lasting(lost)
                );
                if periods >= 5 && share.get() >= 0.25 {
                    found
                        .find(fact, Proven, Direct, says)
                        .from("25 % of 5 or more periods");
                } else if share.get() >= 0.05 {
                    found.find(fact, Possible, Pressure, says).from("5 %");
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::HostCpuSaturated,
        role: Role::Fault,
        title: "There is more to compute than processors",
        means: "Tasks that could run wait for a processor. Latency rises for everybody on the host, the service among them.",
        outside: "Latency rises before refusals begin.",
        inside: "The pressure file of the processor, and the runnable tasks (the fourth field of /proc/loadavg) beside the processors. The load average itself also counts tasks that wait for a disk, and proves nothing.",
        threshold: "40 % of the last ten seconds some task waited, or more than twice as many runnable as processors. A suspect unless the process's own lag says the same.",
        fix: "See who computes. If it is the service, scale out or make the hot route cheaper; if it is a neighbour, give each a group with weights.",
        commands: &[
            "cat /proc/pressure/cpu /proc/loadavg",
            "top -b -n 1 | head -20",
        ],
        effects: SLOWED,
        judge: |view, found| {
            let late = view.any(|seen| matches!(seen, O::Own(Own::Lag { lag, allowed }) if lag > allowed && *allowed > Duration::ZERO));
            let punctual = view
                .all(|seen| matches!(seen, O::Own(Own::Lag { lag, allowed }) if lag <= allowed));
            let sure = if late { Likely } else { Possible };
            for (fact, some) in view.pick(|seen| match seen {
                O::Host(Host::Pressure {
                    on: Resource::Cpu,
                    some,
                    ..
                })
                | O::Cgroup(Cgroup::Pressure {
                    on: Resource::Cpu,
                    some,
                    ..
                }) => Some(*some),
                _ => None,
            }) {
                if some.get() >= 0.4 {
                    let case = found.find(fact, sure, Pressure, format!("Some task waited for a processor in {some} of the last ten seconds.")).from("40 %");
                    punctual.iter().for_each(|fact| {
                        case.but(fact);
                    });
                } else {
                    found.well(fact);
                }
            }
            for (fact, (tasks, processors)) in view.pick(|seen| match seen {
                O::Host(Host::Runnable { tasks, processors }) => Some((*tasks, *processors)),
                _ => None,
            }) {
                if processors > 0 && tasks > processors.saturating_mul(2) {
                    found
                        .find(
                            fact,
                            sure,
                            Pressure,
                            format!("{tasks} tasks can run on {processors} processors."),
                        )
                        .from(format!("more than {}", processors.saturating_mul(2)));
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::HostPidsLimit,
        role: Role::Fault,
        title: "No thread or process can be started",
        means: "The group's bound on tasks is met, so starting a thread or a child fails with EAGAIN.",
        outside: "500 and 503 from whatever needs a thread; crashes at start.",
        inside: "pids.current beside pids.max, and `max` in pids.events.",
        threshold: "A start was refused, or 95 % of the bound.",
        fix: "Raise the unit's TasksMax, or find what starts so many.",
        commands: &[
            "systemctl show UNIT -p TasksCurrent,TasksMax",
            "ls /proc/PID/task | wc -l",
        ],
        effects: &[
            Id::AppCrashLoop,
            Id::AppHung,
            Id::AppOwn503,
            Id::AppForeign503,
        ],
        judge: |view, found| {
            for (fact, (now, max, refused)) in view.pick(|seen| match seen {
                O::Cgroup(Cgroup::Pids { now, max, refused }) => Some((*now, *max, *refused)),
                _ => None,
            }) {
                if refused > 0 {
                    found.find(fact, Proven, Direct, format!("{refused} starts of threads or processes were refused; {now} of {max} run.")).from("1");
                } else if max > 0 && Ratio::of(now, max).get() >= 0.95 {
                    found
                        .find(
                            fact,
                            Likely,
                            Pressure,
                            format!("{now} of {max} tasks of the group run."),
                        )
                        .from("95 %");
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Process(Process::LogLine {
                    about: LogKind::NoThreads,
                    count,
                    ..
                }) => Some(format!(
                    "The service's log says {count} times that no thread could be started."
                )),
                _ => None,
            });
        },
    },
];
