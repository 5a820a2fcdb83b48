//! A Redis cluster.

use std::time::{Duration, Instant};

use crate::{net::free_port, process::PATIENCE, redis::Redis};

/// How many slots a cluster has, by its specification.
const SLOTS: usize = 16_384;

/// A Redis cluster of its own: masters without replicas, which share the slots equally.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts so many masters, and waits until each says that the cluster is whole.
    ///
    /// # Panics
    /// If Redis is not installed or the cluster does not come up.
    #[must_use]
    pub fn start(masters: usize) -> Self {
        let each = |_| {
            let bus = free_port();
            let node = Redis::builder()
                .arg("--cluster-enabled")
                .arg("yes")
                .arg("--cluster-node-timeout")
                .arg("1000")
                .arg("--cluster-port")
                .arg(bus.to_string())
                .start();
            (node, bus)
        };
        let (nodes, buses): (Vec<_>, Vec<_>) = (0..masters).map(each).unzip();
        for (at, node) in nodes.iter().enumerate() {
            let (first, next) = (SLOTS * at / masters, SLOTS * (at + 1) / masters);
            is_done(&node.commands(&format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1)));
            if at > 0 {
                let (port, bus) = (nodes[0].port(), buses[0]);
                is_done(&node.commands(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}")));
            }
        }
        let cluster = Self { nodes };
        cluster.wait_until_whole();
        cluster
    }

    /// Returns the nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Returns a node, to stop or to pause it.
    ///
    /// # Panics
    /// If there is none of this number.
    pub fn node(&mut self, at: usize) -> &mut Redis {
        &mut self.nodes[at]
    }

    /// Returns the URLs of all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// Takes a slot from a node: it answers `CLUSTERDOWN` from then on, as every node does
    /// that misses a slot.
    pub fn lose_slot(&self, node: usize, slot: u16) {
        is_done(&self.nodes[node].commands(&format!("CLUSTER DELSLOTS {slot}")));
    }

    /// Gives a slot back to its node.
    pub fn give_slot(&self, node: usize, slot: u16) {
        is_done(&self.nodes[node].commands(&format!("CLUSTER ADDSLOTS {slot}")));
    }

    /// Waits until each node says that the cluster is whole.
    ///
    /// # Panics
    /// If that does not come.
    pub fn wait_until_whole(&self) {
        let started_at = Instant::now();
        let is_whole = |node: &Redis| {
            let info = node.commands("CLUSTER INFO");
            info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_known_nodes:{}\r", self.nodes.len()))
        };
        while !self.nodes.iter().all(is_whole) {
            assert!(started_at.elapsed() < PATIENCE, "the cluster is not whole");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn is_done(reply: &str) {
    assert!(reply.starts_with("+OK"), "{reply}");
}
