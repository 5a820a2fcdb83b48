//! Fair shares through the whole gate, in a time of their own.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::{
    refusal::{
        cause::Rule,
        evidence::{Evidence, Pressure},
    },
    request::priority::Priority,
    shed::{Ask, Decision, Outcome, ShedGate, ShedMode, ShedPermit, ShedSettings},
    sync::local::Local,
    testing::origin,
};

/// Who asks, of a world: its share of the requests, and its class.
#[derive(Clone, Copy)]
struct Client {
    name: &'static str,
    weight: f64,
    priority: Priority,
}

const fn client(name: &'static str, weight: f64) -> Client {
    Client {
        name,
        weight,
        priority: Priority::Default,
    }
}

/// What became of one client's requests.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    asked: u32,
    admitted: u32,
    by_share: u32,
}

impl Fate {
    fn served(&self) -> f64 {
        f64::from(self.admitted) / f64::from(self.asked.max(1))
    }
}

/// A gate and the requests that run behind it, each for 5 to 15 ms.
struct World {
    gate: Local<ShedGate>,
    start: Instant,
    at: f64,
    beat: f64,
    random: u64,
    running: VecDeque<(Instant, ShedPermit)>,
}

impl World {
    fn new(limit: u32, mode: ShedMode) -> Self {
        let start = origin();
        let settings = ShedSettings::fixed(limit).mode(mode).tenants(true);
        Self {
            gate: Local::new(ShedGate::new(&settings, 7, start).expect("valid")),
            start,
            at: 0.0,
            beat: 0.0,
            random: 7,
            running: VecDeque::new(),
        }
    }

    fn unit(&mut self) -> f64 {
        self.random =
            (self.random.wrapping_mul(0x5851_f42d_4c95_7f2d)).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.at)
    }

    /// Lets time pass, in which requests end.
    fn pass(&mut self, secs: f64) {
        self.at += secs;
        let now = self.now();
        while self.beat <= self.at {
            let due = self.start + Duration::from_secs_f64(self.beat);
            self.gate.beat(Duration::ZERO, due);
            self.beat += 0.1;
        }
        while self.running.front().is_some_and(|(end, _)| *end <= now) {
            let (end, permit) = self.running.pop_front().expect("one is there");
            permit.settle(Outcome::Done, end);
        }
    }

    /// One request; true if it was admitted, else the refusal's rule.
    fn ask(&mut self, client: Client) -> Result<(), Rule> {
        let now = self.now();
        let hash = client.name.bytes().fold(7_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let tenant = Tenant::new(hash, client.name);
        let whose = match self.gate.weighs_tenants(now) {
            true => Some(tenant),
            false => (self.unit() < 1.0 / f64::from(TENANT_ONE_IN)).then_some(tenant.sampled()),
        };
        let ask = Ask::new("/x").priority(client.priority).tenant(whose);
        match ShedGate::admit(&self.gate, ask, now) {
            Decision::Admit(permit) => {
                let end = now + Duration::from_secs_f64(0.005 + 0.010 * self.unit());
                let place = self.running.partition_point(|(other, _)| *other <= end);
                self.running.insert(place, (end, permit));
                Ok(())
            }
            Decision::Refuse(refusal) => Err(refusal.rule().expect("an overload")),
            other => panic!("{other:?}"),
        }
    }

    /// So many seconds in which clients ask for so many times what the limit can do.
    fn run<const N: usize>(&mut self, clients: [Client; N], secs: f64) -> [Fate; N] {
        let load: f64 = clients.iter().map(|client| client.weight).sum();
        let limit = self.gate.snapshot(self.start).limit.expect("a fixed one");
        let rate = load * f64::from(limit) / 0.010;
        let mut fates = [Fate::default(); N];
        let until = self.at + secs;
        while self.at < until {
            let gap = -(1.0 - self.unit()).ln() / rate;
            self.pass(gap);
            let mut left = self.unit() * load;
            let drawn = clients.iter().position(|client| {
                left -= client.weight;
                left < 0.0
            });
            let who = drawn.unwrap_or(0);
            let asked = self.ask(clients[who]);
            fates[who].asked += 1;
            fates[who].admitted += u32::from(asked.is_ok());
            fates[who].by_share += u32::from(asked == Err(Rule::TenantShare));
        }
        fates
    }

    fn tenants(&self) -> TenantsSnapshot {
        self.gate.snapshot(self.now()).tenants.expect("it has them")
    }
}

#[test]
fn a_client_at_twenty_times_the_load_leaves_the_others_whole() {
    let clients = [client("loud", 20.0), client("a", 0.2), client("b", 0.1)];
    // Of four places, the third of its own that the loud one keeps is one.
    for (limit, least) in [(4, 0.7), (16, 0.98), (64, 0.98)] {
        let mut world = World::new(limit, ShedMode::Enforce);
        world.run(clients, 2.0);
        let [loud, a, b] = world.run(clients, 10.0);
        for other in [a, b] {
            assert!(other.served() > least, "{limit}: {other:?}");
            assert_eq!(other.by_share, 0, "{limit}: {other:?}");
        }
        assert!(loud.by_share > loud.asked / 2, "{limit}: {loud:?}");
        // Seven tenths of the places are its own, and no more than two thirds of those are kept.
        assert!(loud.served() > 0.7 / 3.0 / 20.0, "{limit}: {loud:?}");
    }
}

#[test]
fn two_that_ask_for_too_much_have_the_same() {
    let clients = [client("more", 20.0), client("less", 5.0), client("a", 0.2)];
    let mut world = World::new(16, ShedMode::Enforce);
    world.run(clients, 3.0);
    let [more, less, modest] = world.run(clients, 20.0);
    let ratio = f64::from(less.admitted) / f64::from(more.admitted);
    assert!((0.7..1.3).contains(&ratio), "{more:?} {less:?}");
    assert!(modest.served() > 0.98, "{modest:?}");
}

#[test]
fn a_client_that_is_alone_may_have_everything() {
    let mut world = World::new(16, ShedMode::Enforce);
    let [alone] = world.run([client("loud", 20.0)], 10.0);
    assert_eq!(alone.by_share, 0);
    assert!(alone.served() > 0.95 / 20.0, "{alone:?}");
    assert_eq!(world.gate.take_tenant_changes().len(), 0);
}

#[test]
fn many_alike_are_refused_by_the_limit_and_hardly_by_share() {
    const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut world = World::new(16, ShedMode::Enforce);
    let fates = world.run(NAMES.map(|name| client(name, 2.0 / 12.0)), 20.0);
    let asked: u32 = fates.iter().map(|fate| fate.asked).sum();
    let (share, served) = fates.iter().fold((0, 0), |(share, served), fate| {
        (share + fate.by_share, served + fate.admitted)
    });
    assert!(f64::from(share) < 0.04 * f64::from(asked), "{fates:?}");
    assert!(f64::from(served) > 0.47 * f64::from(asked), "{fates:?}");
}

#[test]
fn critical_requests_are_refused_by_no_share() {
    let clients = [
        client("loud", 19.9),
        client("a", 0.2),
        Client {
            priority: Priority::Critical,
            ..client("loud", 0.1)
        },
    ];
    let mut world = World::new(16, ShedMode::Enforce);
    world.run(clients, 2.0);
    let [loud, other, critical] = world.run(clients, 10.0);
    assert!(loud.by_share > 0 && critical.by_share == 0, "{loud:?}");
    assert!(critical.served() > 0.99, "{critical:?}");
    assert!(other.served() > 0.97, "{other:?}");
}

#[test]
fn who_calms_down_is_served_again_in_seconds_and_it_is_told_when_it_is_over() {
    let clients = [client("loud", 20.0), client("a", 0.2)];
    let mut world = World::new(16, ShedMode::Enforce);
    world.run(clients, 5.0);
    let began = world.gate.take_tenant_changes();
    let [
        TenantChange {
            share: Some(share), ..
        },
    ] = &began[..]
    else {
        panic!("{began:?}")
    };
    assert_eq!(&*share.tenant, "loud");
    let told = began[0].to_string();
    assert!(told.starts_with("loud asks for "), "{told}");
    let calm = [client("loud", 0.3), client("a", 0.2)];
    let [soon, _] = world.run(calm, 5.0);
    assert!(soon.served() > 0.96, "{soon:?}");
    let [loud, _] = world.run(calm, 12.0);
    assert_eq!(loud.by_share, 0, "{loud:?}");
    let over = world.gate.take_tenant_changes();
    assert!(
        matches!(over[..], [TenantChange { share: None, .. }]),
        "{over:?}"
    );
    assert_eq!(world.tenants().fair, None);
}

#[test]
fn the_refusal_says_whose_share_it_was_and_what_it_is() {
    let clients = [client("customer-4711-a-long-name", 20.0), client("a", 0.2)];
    let mut world = World::new(16, ShedMode::Enforce);
    world.run(clients, 3.0);
    let now = world.now();
    let refusal = (0..50).find_map(|_| {
        let hash = clients[0].name.bytes().fold(7_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let tenant = Tenant::new(hash, clients[0].name);
        match ShedGate::admit(&world.gate, Ask::new("/x").tenant(Some(tenant)), now) {
            Decision::Refuse(refusal) => Some(refusal),
            Decision::Admit(permit) => {
                world.running.push_back((now, permit));
                None
            }
            other => panic!("{other:?}"),
        }
    });
    let refusal = refusal.expect("16 places");
    assert_eq!(refusal.rule(), Some(Rule::TenantShare));
    let Evidence::Overloaded(seen) = refusal.evidence() else {
        panic!("{refusal:?}")
    };
    let Some(Pressure::Share(share)) = &seen.pressure else {
        panic!("{refusal:?}")
    };
    assert_eq!((&*share.tenant, share.tenants), ("customer…", 2));
    assert!(
        share.asks > 200.0 && share.fair < 16.0 && share.fair > 10.0,
        "{share:?}"
    );
    assert!(
        seen.in_flight < 16 && seen.in_flight + share.kept >= 16,
        "{seen:?}"
    );
    let mut names = Vec::new();
    refusal.evidence().each(|name, _| names.push(name));
    let expected = "in_flight limit tenant tenant_asks tenant_has fair_share kept_from_it tenants";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn observe_mode_counts_who_would_have_been_refused_and_admits_all() {
    let clients = [client("loud", 2.0), client("a", 0.2)];
    let mut world = World::new(16, ShedMode::Observe);
    let [loud, a] = world.run(clients, 5.0);
    assert_eq!((loud.served(), a.served()), (1.0, 1.0));
    assert!(world.gate.snapshot(world.now()).would_refuse > 0);
}

#[test]
fn a_stream_counts_for_its_tenant_only_as_long_as_it_had_a_place() {
    let mut world = World::new(2, ShedMode::Enforce);
    let tenant = Tenant::new(1 << 20, "a");
    let ask = Ask::new("/events").tenant(Some(tenant));
    let Decision::Admit(mut permit) = ShedGate::admit(&world.gate, ask, world.now()) else {
        panic!("there is room")
    };
    world.pass(0.5);
    permit.become_stream(world.now()).expect("room");
    world.pass(0.3);
    permit.settle(Outcome::Done, world.now());
    world.pass(0.2);
    let most = world.tenants().most;
    assert_eq!(most.len(), 1);
    // Half a second in one that has faded by a third: never the whole second.
    assert!((0.4..0.8).contains(&most[0].has), "{most:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Law 10: nobody is refused by a share unless the limit was met in the last second and
    /// what is left are no more places than are kept; nor one who is alone; nor with nothing in
    /// flight.
    #[test]
    fn nobody_is_refused_by_share_while_there_is_room(
        limit in 1_u32..12,
        steps in prop::collection::vec((0_usize..4, 0_u64..60), 1..800),
        alone in any::<bool>(),
    ) {
        const NAMES: [&str; 4] = ["a", "b", "loud", "loud"];
        let mut world = World::new(limit, ShedMode::Enforce);
        let mut met_at = f64::NEG_INFINITY;
        for (who, tenths_ms) in steps {
            world.pass(tenths_ms as f64 / 10_000.0);
            let in_flight = world.gate.in_flight();
            let kept = world.tenants();
            let name = if alone { "loud" } else { NAMES[who] };
            match world.ask(client(name, 1.0)) {
                Err(Rule::TenantShare) => {
                    prop_assert!(!alone && in_flight > 0);
                    prop_assert!(world.at - met_at <= 1.1, "{} {}", world.at, met_at);
                    let most = world.gate.lanes.common().tenants.as_deref().expect("it has them");
                    let most = (most.kept.load(Ordering::Relaxed) >> 32) as u32;
                    prop_assert!(in_flight + most >= limit, "{in_flight} {most} {kept:?}");
                    met_at = world.at;
                }
                Err(_) => met_at = world.at,
                Ok(()) => {}
            }
        }
    }
}
