//! The queues choose whom a scan of all members would choose, and look at few of them.

use super::*;
use crate::pending::Ticket;
use fastrand::Rng;

type Key = (IpAddr, u64);

/// Members, what they do, and a clock that only this test moves.
struct Scene {
    members: Members,
    rng: Rng,
    now: u64,
    tickets: Vec<(Arc<Pending>, Ticket)>,
    heads: Vec<(Key, Arc<Pending>, u64)>,
    requests: usize,
    reads: usize,
    joins: usize,
}

fn peer(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

impl Scene {
    fn new(seed: u64) -> Self {
        Self {
            members: Members::default(),
            rng: Rng::with_seed(seed),
            // Later than every true time.
            now: 1 << 40,
            tickets: Vec::new(),
            heads: Vec::new(),
            requests: 0,
            reads: 0,
            joins: 0,
        }
    }

    fn join(&mut self, peer: IpAddr) -> Key {
        let (number, pending) = self.members.join(peer);
        // As if a first request had been answered since.
        pending.idle_since_for_tests(self.now);
        self.joins = self.joins.saturating_add(1);
        (peer, number)
    }

    fn pending(&self, (peer, number): Key) -> Option<Arc<Pending>> {
        Some(Arc::clone(&self.members.peers.get(&peer)?.members.get(&number)?.pending))
    }

    fn asks(&mut self, key: Key) {
        let Some(pending) = self.pending(key) else { return };
        self.requests = self.requests.saturating_add(1);
        self.tickets.push((Arc::clone(&pending), pending.ticket()));
    }

    fn is_answered(&mut self, at: usize) {
        let (pending, ticket) = self.tickets.swap_remove(at);
        drop(ticket);
        if pending.is_idle() {
            pending.idle_since_for_tests(self.now);
        }
    }

    fn is_read(&mut self, key: Key, units: u64) {
        let Some(pending) = self.pending(key) else { return };
        self.reads = self.reads.saturating_add(1);
        pending.take(units);
        self.members.reads(key);
        self.heads.push((key, pending, units));
    }

    fn is_given_back(&mut self, at: usize) {
        let (key, pending, units) = self.heads.swap_remove(at);
        pending.give_back(units);
        self.members.gave_back(key);
    }

    fn keys(&self) -> Vec<Key> {
        let of = |(address, peer): (&IpAddr, &Peer)| {
            peer.members.keys().map(|number| (*address, *number)).collect::<Vec<_>>()
        };
        self.members.peers.iter().flat_map(of).collect()
    }

    fn any(&mut self) -> Option<Key> {
        let keys = self.keys();
        (!keys.is_empty()).then(|| keys[self.rng.usize(..keys.len())])
    }

    /// Does anything but end a member.
    fn step(&mut self) {
        match self.rng.u8(..9) {
            0..=2 => {
                let number = self.rng.u8(..5);
                self.join(peer(number));
            }
            3 => {
                if let Some(key) = self.any() {
                    self.asks(key);
                }
            }
            4 if !self.tickets.is_empty() => {
                let at = self.rng.usize(..self.tickets.len());
                self.is_answered(at);
            }
            5 => {
                if let Some(key) = self.any() {
                    let units = if self.rng.bool() { 1 } else { 8 };
                    self.is_read(key, units);
                }
            }
            6 if !self.heads.is_empty() => {
                let at = self.rng.usize(..self.heads.len());
                self.is_given_back(at);
            }
            7 if self.rng.bool() => {
                if let Some(key) = self.any() {
                    self.members.remove(key);
                }
            }
            _ => self.now = self.now.saturating_add(self.rng.u64(..3)),
        }
    }

    /// Member of one peer that ends, by a look at all.
    fn scan(&self, peer: IpAddr, kind: Kind) -> Option<Key> {
        let may_end =
            |member: &Member| member.pending.is_idle() && (kind == Kind::Idle || member.pending.units() > 0);
        let members = self.members.peers.get(&peer)?.members.iter().filter(|(_, member)| may_end(member));
        let (number, _) = members.min_by_key(|(_, member)| member.pending.idle_since())?;
        Some((peer, *number))
    }

    /// Members of any peer one of which ends, by a look at all: the first ones of the peers that hold the most.
    fn scan_all(&self, kind: Kind) -> Vec<Key> {
        let holds = |peer: &Peer| match kind {
            Kind::Idle => u64::try_from(peer.members.len()).unwrap(),
            Kind::HalfRead => units(peer),
        };
        let all = self
            .members
            .peers
            .iter()
            .filter_map(|(address, peer)| self.scan(*address, kind).map(|first| (holds(peer), first)));
        let all: Vec<_> = all.collect();
        let most = all.iter().map(|(holds, _)| *holds).max();
        all.into_iter().filter(|(holds, _)| Some(*holds) == most).map(|(_, first)| first).collect()
    }

    fn units(&self) -> u64 {
        self.members.peers.values().map(units).sum()
    }
}

/// Units of memory that a peer holds for what is half read.
fn units(peer: &Peer) -> u64 {
    let idle = peer.members.values().filter(|member| member.pending.is_idle());
    idle.map(|member| member.pending.units()).sum()
}

#[test]
fn the_one_that_ends_is_the_one_that_a_scan_of_all_finds() {
    let mut all = 0;
    for seed in 0..200 {
        let (mut scene, mut ended) = (Scene::new(seed), 0);
        for round in 0..150 {
            for _ in 0..scene.rng.usize(..6) {
                scene.step();
            }
            assert_eq!(scene.members.half_read_units(), scene.units(), "seed {seed}, round {round}");
            let (before, choice) = (scene.keys(), scene.rng.u8(..8));
            let expected = match choice {
                0 => scene.scan_all(Kind::Idle),
                1..=3 => scene.scan_all(Kind::HalfRead),
                _ => Vec::from_iter(scene.scan(peer(choice - 4), Kind::Idle)),
            };
            let found = match choice {
                0 => scene.members.end_idlest(Kind::Idle),
                1..=3 => scene.members.end_idlest(Kind::HalfRead),
                _ => scene.members.end_idlest_of(peer(choice - 4)),
            };
            let after = scene.keys();
            let gone: Vec<_> = before.into_iter().filter(|key| !after.contains(key)).collect();
            assert!(gone.len() < 2 && gone.iter().all(|gone| expected.contains(gone)), "{seed}: {gone:?}");
            assert_eq!((found, gone.is_empty()), (!expected.is_empty(), expected.is_empty()), "{seed}");
            assert_eq!(scene.members.count(), after.len());
            ended += usize::from(found);
        }
        // A request moves a member in both queues; who joins or is read comes into one.
        let most = ended + 2 * scene.requests + scene.joins + scene.reads;
        assert!(scene.members.looked_at <= most, "seed {seed}: {} of {most}", scene.members.looked_at);
        all += ended;
    }
    assert!(all > 5000, "{all}");
}

#[test]
fn who_has_thousands_of_connections_makes_one_more_cost_no_more() {
    for count in [10, 4000] {
        let mut scene = Scene::new(1);
        let keys: Vec<_> = (0..count).map(|_| scene.join(peer(1))).collect();
        for key in &keys {
            scene.is_read(*key, 1);
        }
        for kind in [Kind::Idle, Kind::HalfRead] {
            // Times were moved after they had joined: each is corrected once.
            assert!(scene.members.end_idlest(kind));
            scene.members.looked_at = 0;
            assert!(scene.members.end_idlest(kind));
            assert_eq!(scene.members.looked_at, 1, "{kind:?} of {count}");
        }
        // Requests under way on all of them are seen once, and then no more.
        for key in &keys {
            scene.asks(*key);
        }
        for kind in [Kind::Idle, Kind::HalfRead] {
            assert!(!scene.members.end_idlest(kind));
            scene.members.looked_at = 0;
            assert!(!scene.members.end_idlest(kind));
            assert_eq!(scene.members.looked_at, 0, "{kind:?} of {count}");
        }
        scene.is_answered(0);
        assert!(scene.members.end_idlest(Kind::HalfRead));
        assert_eq!(scene.members.looked_at, 1, "{count}");
    }
}

#[test]
fn who_holds_the_most_half_read_makes_room_and_not_who_has_many_connections() {
    let mut scene = Scene::new(1);
    let (gateway, neighbour) = (peer(2), peer(1));
    let healthy: Vec<_> = (0..100).map(|_| scene.join(gateway)).collect();
    for key in &healthy {
        scene.is_read(*key, 1);
        scene.asks(*key);
    }
    // Answered and waiting for the next request, under way still, and one whose head comes now.
    for at in (0..50).rev() {
        scene.is_given_back(at);
    }
    for at in (0..50).rev() {
        scene.is_answered(at);
    }
    let now = scene.join(gateway);
    scene.is_read(now, 1);
    let half: Vec<_> = (0..2).map(|_| scene.join(neighbour)).collect();
    for key in &half {
        scene.is_read(*key, 1);
    }
    assert!(scene.members.half_reads_most(neighbour) && !scene.members.half_reads_most(gateway));
    assert!(scene.members.end_idlest(Kind::HalfRead));
    assert!(!scene.members.has(half[0]) && scene.members.has(half[1]) && scene.members.has(now));
    // Two of HTTP/1.1 hold less than one of HTTP/2.
    let http2 = scene.join(peer(3));
    scene.is_read(http2, 8);
    assert!(scene.members.end_idlest(Kind::HalfRead));
    assert!(!scene.members.has(http2));
}

#[test]
fn who_holds_the_most_half_read_is_found_behind_what_was_read_of_others() {
    let (honest, neighbour) = (|number: u8| IpAddr::from([10, 1, 0, number]), peer(9));
    // 65 callers whose heads were read: their connections wait for the next request, or have one under way.
    for (name, is_answered, others) in [("waiting", true, 0), ("under way", false, 0), ("some", false, 1)] {
        let mut scene = Scene::new(1);
        for caller in 0..65 {
            for _ in 0..20 {
                let key = scene.join(honest(caller));
                scene.is_read(key, 1);
                if is_answered {
                    scene.is_given_back(scene.heads.len() - 1);
                } else {
                    scene.asks(key);
                }
            }
            for _ in 0..others {
                let key = scene.join(honest(caller));
                scene.is_read(key, 1);
            }
        }
        let now = scene.join(honest(7));
        scene.is_read(now, 1);
        let half: Vec<_> = (0..2).map(|_| scene.join(neighbour)).collect();
        for key in &half {
            scene.is_read(*key, 8);
        }
        assert!(scene.members.half_reads_most(neighbour), "{name}");
        assert!(scene.members.end_idlest(Kind::HalfRead), "{name}");
        let left = [now, half[0], half[1]].map(|key| scene.members.has(key));
        assert_eq!(left, [true, false, true], "{name}");
    }
}

#[test]
fn who_holds_the_most_half_read_is_found_behind_peers_whose_idlest_is_half_read_and_others_are_busy() {
    let (honest, neighbour) = (|number: u8| IpAddr::from([10, 1, 0, number]), peer(9));
    let mut scene = Scene::new(1);
    for caller in 0..65 {
        // One that rests, and then connections with requests under way.
        let rests = scene.join(honest(caller));
        scene.is_read(rests, 1);
        for _ in 0..20 {
            let key = scene.join(honest(caller));
            scene.is_read(key, 1);
            scene.asks(key);
        }
    }
    let half: Vec<_> = (0..2).map(|_| scene.join(neighbour)).collect();
    for key in &half {
        scene.is_read(*key, 8);
    }
    assert!(scene.members.half_reads_most(neighbour), "16 units of one, and 1 of each other");
    assert!(scene.members.end_idlest(Kind::HalfRead));
    assert!(!scene.members.has(half[0]));
}
