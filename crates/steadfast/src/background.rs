//! What runs beside the requests: checks on their schedule, breakers that
//! move without traffic, metrics, signals, and what the process manager and the control group
//! say.

pub(crate) mod audit;
pub(crate) mod breakers;
pub(crate) mod cgroup_sampler;
pub(crate) mod environment;
pub(crate) mod host_sampler;
pub(crate) mod incidents;
pub(crate) mod journal;
pub(crate) mod metering;
mod sampler;
pub(crate) mod schedule;
pub(crate) mod signals;
