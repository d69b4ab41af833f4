//! Who is heard: every packet is judged by its source before anything of it is read that routing does not need.
//!
//! Trunks always pass: how much they may send is for others to say. Flows of registered phones pass within a rate that no
//! phone reaches. What a stranger sends is dropped without an answer, so that a scanner sees no server at all, but for
//! registrations (a phone that comes for the first time is a stranger) and for what carries a mark of ours; both within a
//! rate for each source and one for all strangers together, since source addresses can be forged; strangers in a home of
//! phones count apart, so that no flood from elsewhere keeps phones from coming back. A connection counts as many packets,
//! for its handshakes cost as much.
//!
//! Guilt counts by source: a wrong password weighs most. Who has too much of it is banned; sources with trunks or
//! registered phones never are. Keeps nothing but sources; its memory is bounded (see [`edge`](super)).

use super::bans::Bans;
use super::bucket::Bucket;
pub use super::bucket::Rate;
use super::event::{Ban, Counts, Kind, Knock, Offence, Packet, Source, Verdict, Why};
use super::known::Known;
use super::locks::Locks;
use super::sources::Sources;
use crate::base::map::keyed_hash;
use crate::base::{Mono, Now};
use crate::sip::event::Bindings;
use std::net::{IpAddr, SocketAddr};

/// Guilt at which a source is banned; a second of rest takes one away.
const GUILT_MAX: u32 = 100;

/// A new connection counts as so many packets: 4 a second from one source, 400 from all.
const CONNECTION_PACKETS: u32 = 10;

/// How many times the rate of a strange source one has where phones are registered: an office of a thousand seats behind
/// one address comes back within a minute.
const HOME_TIMES: u32 = 10;

/// What sources may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Packets of a strange source that are looked at.
    pub stranger: Rate,
    /// Packets of all strange sources together that reach a shard.
    pub strangers: Rate,
    /// Packets of one registered phone.
    pub phone: Rate,
}

impl Default for Settings {
    /// A phone registers with two packets, and an office of two hundred behind one address after a power cut with four
    /// hundred; a phone in a call sends ten or so. All strangers together cost less than half a core.
    fn default() -> Settings {
        Settings {
            stranger: Rate { per_s: 40, burst: 400 },
            strangers: Rate { per_s: 4_000, burst: 8_000 },
            phone: Rate { per_s: 50, burst: 200 },
        }
    }
}

/// The gate of one node.
#[derive(Debug)]
pub struct Gate {
    seed: [u64; 2],
    settings: Settings,
    known: Known,
    sources: Sources,
    strangers: Bucket,
    /// Of strangers in homes.
    at_home: Bucket,
    bans: Bans,
    locks: Locks,
    counts: Counts,
}

impl Offence {
    const fn weight(self) -> u32 {
        match self {
            Offence::WrongPassword { .. } => 10,
            Offence::Malformed | Offence::Forged => 5,
        }
    }
}

/// Guilt of a packet that is dropped.
const DROPPED_WEIGHT: u32 = 1;

impl Gate {
    /// A gate that knows nobody. `seed` is the node's secret.
    pub fn new(seed: [u64; 2], settings: Settings) -> Gate {
        Gate {
            seed,
            settings,
            known: Known::new(seed, settings.phone),
            sources: Sources::new(settings.stranger),
            strangers: Bucket::default(),
            at_home: Bucket::default(),
            bans: Bans::default(),
            locks: Locks::new(seed),
            counts: Counts::default(),
        }
    }

    /// How the gate calls a user, in [`Kind::Register`] and [`Offence::WrongPassword`].
    pub fn user(seed: [u64; 2], user: &str) -> u64 {
        keyed_hash(seed, user.as_bytes())
    }

    /// What becomes of a packet.
    pub fn judge(&mut self, now: Now, packet: &Packet) -> Verdict {
        if packet.trunk {
            return Verdict::Serve;
        }
        let source = Source::of(packet.flow.peer.ip());
        let verdict = match self.locked(now.mono, packet, source) {
            true => Verdict::Drop(Why::Locked),
            false => match self.known.packet(now.mono, packet.flow) {
                Some(true) => Verdict::Serve,
                Some(false) => Verdict::Drop(Why::TooMany),
                None => self.stranger(now, packet, source),
            },
        };
        self.count(verdict);
        verdict
    }

    /// Somebody who is no trunk opens a connection.
    pub fn knock(&mut self, now: Now, ip: IpAddr) -> Knock {
        let source = Source::of(ip);
        let home = self.known.is_home(now.mono, source);
        let refused = if self.bans.holds(now.mono, source) {
            Some(Why::Banned)
        } else if !self.is_within(now.mono, source, home, CONNECTION_PACKETS) {
            self.blame(now, source, DROPPED_WEIGHT);
            Some(Why::TooMany)
        } else if !self.are_all_within(now.mono, home, CONNECTION_PACKETS) {
            Some(Why::TooMany)
        } else {
            None
        };
        match refused {
            Some(why) => {
                self.count(Verdict::Drop(why));
                Knock::Refused
            }
            None if home => Knock::Known,
            None => Knock::Stranger,
        }
    }

    /// Whether a source is not heard.
    pub fn is_banned(&self, now: Mono, ip: IpAddr) -> bool {
        self.bans.holds(now, Source::of(ip))
    }

    /// Phones were registered from there in an earlier life, and will come back.
    pub fn expect(&mut self, now: Mono, ip: IpAddr) {
        self.known.expect(now, Source::of(ip));
    }

    /// A source did wrong.
    pub fn offend(&mut self, now: Now, peer: SocketAddr, offence: Offence) {
        let source = Source::of(peer.ip());
        if let Offence::WrongPassword { user } = offence {
            self.counts.wrong_passwords += 1;
            self.locks.fail(now.mono, user, source);
        }
        self.blame(now, source, offence.weight());
    }

    /// All bindings of an address-of-record after a change: from there a phone is known, and its password was right.
    pub fn learn(&mut self, now: Mono, bindings: &Bindings) {
        let user = Gate::user(self.seed, &bindings.user);
        for contact in &bindings.contacts {
            let source = Source::of(contact.flow.peer.ip());
            self.locks.clear(user, source);
            self.sources.pardon(source.hash(self.seed));
        }
        self.known.learn(now, user, bindings);
    }

    /// Lifts a ban; false when the source is not banned.
    pub fn pardon(&mut self, now: Mono, source: Source) -> bool {
        self.sources.pardon(source.hash(self.seed));
        self.bans.lift(now, source)
    }

    /// All bans that hold, in order of their sources.
    pub fn bans(&self, now: Mono) -> Vec<Ban> {
        self.bans.standing(now).collect()
    }

    /// What it did.
    pub fn counts(&self, now: Mono) -> Counts {
        Counts { flows_known: self.known.flows(), bans_standing: self.bans.standing(now).count(), ..self.counts }
    }

    fn locked(&self, now: Mono, packet: &Packet, source: Source) -> bool {
        match packet.kind {
            // Nobody's guesses shut out a phone that is there.
            Kind::Register { user } => self.locks.is_locked(now, user, source) && !self.known.is_of(user, packet.flow),
            Kind::Marked | Kind::Other => false,
        }
    }

    fn stranger(&mut self, now: Now, packet: &Packet, source: Source) -> Verdict {
        if self.bans.holds(now.mono, source) {
            return Verdict::Drop(Why::Banned);
        }
        let home = self.known.is_home(now.mono, source);
        let within = self.is_within(now.mono, source, home, 1);
        let verdict = match (packet.kind, packet.welcome) {
            (Kind::Other, false) => Verdict::Drop(Why::Uninvited),
            (Kind::Register { .. } | Kind::Marked, _) | (Kind::Other, true) if !within => Verdict::Drop(Why::TooMany),
            (Kind::Register { .. } | Kind::Marked, false) => Verdict::Prove,
            (Kind::Register { .. } | Kind::Marked | Kind::Other, true) => Verdict::Serve,
        };
        match verdict {
            Verdict::Drop(_) => {
                self.blame(now, source, DROPPED_WEIGHT);
                verdict
            }
            // Nobody is blamed for what others send.
            Verdict::Serve | Verdict::Prove if !self.are_all_within(now.mono, home, 1) => Verdict::Drop(Why::TooMany),
            Verdict::Serve | Verdict::Prove => verdict,
        }
    }

    fn is_within(&mut self, now: Mono, source: Source, home: bool, packets: u32) -> bool {
        let times = if home { HOME_TIMES } else { 1 };
        self.sources.packets(now, source.hash(self.seed), times, packets)
    }

    fn are_all_within(&mut self, now: Mono, home: bool, packets: u32) -> bool {
        let bucket = if home { &mut self.at_home } else { &mut self.strangers };
        bucket.take_many(now, self.settings.strangers, packets)
    }

    fn blame(&mut self, now: Now, source: Source, weight: u32) {
        let hash = source.hash(self.seed);
        if self.sources.offend(hash, weight) < GUILT_MAX || self.known.is_home(now.mono, source) {
            return;
        }
        self.sources.pardon(hash);
        self.bans.add(now, source);
        self.counts.bans += 1;
    }

    fn count(&mut self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Serve => return,
            Verdict::Prove => &mut self.counts.strangers_passed,
            Verdict::Drop(Why::Uninvited) => &mut self.counts.uninvited,
            Verdict::Drop(Why::TooMany) => &mut self.counts.too_many,
            Verdict::Drop(Why::Banned) => &mut self.counts.banned,
            Verdict::Drop(Why::Locked) => &mut self.counts.locked,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Wall;
    use crate::sip::event::{Binding, Flow};

    const SEED: [u64; 2] = [3, 4];
    const PHONE: &str = "192.0.2.7:40000";
    const SCANNER: &str = "198.51.100.9:5060";

    fn at(ms: u64) -> Now {
        Now { mono: Mono::from_ms(ms), wall: Wall(1_700_000_000_000 + ms as i64) }
    }

    fn gate() -> Gate {
        Gate::new(SEED, Settings::default())
    }

    fn from(peer: SocketAddr) -> Flow {
        Flow { listener: 0, connection: 0, peer }
    }

    fn flow(peer: &str) -> Flow {
        from(peer.parse().unwrap())
    }

    fn packet(peer: &str, kind: Kind) -> Packet {
        Packet { flow: flow(peer), trunk: false, welcome: false, kind }
    }

    fn register(user: &str) -> Kind {
        Kind::Register { user: Gate::user(SEED, user) }
    }

    fn wrong(user: &str) -> Offence {
        Offence::WrongPassword { user: Gate::user(SEED, user) }
    }

    fn bindings(user: &str, peers: &[&str]) -> Bindings {
        let contact =
            |peer: &&str| Binding { uri: "sip:x".into(), flow: flow(peer), expires: Wall(0), path: Vec::new() };
        Bindings { user: user.into(), domain: "fz".into(), contacts: peers.iter().map(contact).collect() }
    }

    #[test]
    fn who_sends_what_and_what_becomes_of_it() {
        use Verdict::{Drop, Prove, Serve};
        let mut gate = gate();
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        let other_port = "192.0.2.7:40001";
        for (peer, trunk, welcome, kind, verdict) in [
            (SCANNER, true, false, Kind::Other, Serve),
            (SCANNER, true, false, register("1001"), Serve),
            (PHONE, false, false, Kind::Other, Serve),
            (PHONE, false, false, register("1001"), Serve),
            (other_port, false, false, Kind::Other, Drop(Why::Uninvited)),
            (other_port, false, false, register("1001"), Prove),
            (SCANNER, false, false, Kind::Other, Drop(Why::Uninvited)),
            (SCANNER, false, false, Kind::Marked, Prove),
            (SCANNER, false, false, register("1001"), Prove),
            (SCANNER, false, true, Kind::Other, Serve),
            (SCANNER, false, true, register("1001"), Serve),
        ] {
            let packet = Packet { flow: flow(peer), trunk, welcome, kind };
            assert_eq!(gate.judge(at(0), &packet), verdict, "{packet:?}");
        }
        gate.learn(Mono(0), &bindings("1001", &[]));
        assert_eq!(gate.judge(at(0), &packet(PHONE, Kind::Other)), Drop(Why::Uninvited));
        assert_eq!(gate.counts(at(0).mono).flows_known, 0);
    }

    #[test]
    fn a_scanner_is_banned_ever_longer_and_can_be_pardoned() {
        let mut gate = gate();
        let scan = packet(SCANNER, Kind::Other);
        let first_ban = (0..200).find(|_| gate.judge(at(0), &scan) == Verdict::Drop(Why::Banned));
        assert_eq!(first_ban, Some(100));
        assert_eq!(gate.judge(at(59_999), &packet(SCANNER, register("1"))), Verdict::Drop(Why::Banned));
        assert_eq!(gate.judge(at(60_000), &packet(SCANNER, register("1"))), Verdict::Prove);
        for _ in 0..200 {
            gate.judge(at(60_000), &scan);
        }
        let bans = gate.bans(at(60_000).mono);
        assert_eq!((bans.len(), bans[0].times, bans[0].source.to_string()), (1, 2, "198.51.100.9".into()));
        assert_eq!(bans[0].until.0 - bans[0].since.0, 240_000);
        assert!(gate.pardon(at(60_000).mono, bans[0].source));
        assert!(!gate.pardon(at(60_000).mono, bans[0].source));
        assert_eq!(gate.judge(at(60_000), &packet(SCANNER, register("1"))), Verdict::Prove);
    }

    #[test]
    fn homes_of_phones_and_trunks_are_never_banned() {
        let mut gate = gate();
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        for second in 0..1_000 {
            gate.judge(at(second), &packet("192.0.2.7:9", Kind::Other));
            gate.offend(at(second), PHONE.parse().unwrap(), wrong("1002"));
            let trunk = Packet { trunk: true, ..packet(SCANNER, Kind::Other) };
            assert_eq!(gate.judge(at(second), &trunk), Verdict::Serve);
            gate.offend(at(second), SCANNER.parse().unwrap(), Offence::Malformed);
        }
        assert_eq!(gate.bans(at(1_000).mono), []);
        assert_eq!(gate.judge(at(10_000), &packet(PHONE, Kind::Other)), Verdict::Serve);
    }

    #[test]
    fn guessing_locks_one_user_here_and_bans_who_guesses_on() {
        let mut gate = gate();
        let (here, there) = (SCANNER, "203.0.113.1:5060");
        for _ in 0..5 {
            assert_eq!(gate.judge(at(0), &packet(here, register("1001"))), Verdict::Prove);
            gate.offend(at(0), here.parse().unwrap(), wrong("1001"));
        }
        assert_eq!(gate.judge(at(0), &packet(here, register("1001"))), Verdict::Drop(Why::Locked));
        assert_eq!(gate.judge(at(0), &packet(here, register("1002"))), Verdict::Prove);
        assert_eq!(gate.judge(at(0), &packet(there, register("1001"))), Verdict::Prove);
        for user in 0..5 {
            gate.offend(at(0), here.parse().unwrap(), wrong(&user.to_string()));
        }
        assert_eq!(gate.judge(at(0), &packet(here, register("1002"))), Verdict::Drop(Why::Banned));
        assert_eq!(gate.judge(at(0), &packet(there, register("1001"))), Verdict::Prove);
    }

    #[test]
    fn a_registered_phone_that_fails_is_locked_for_that_user_only() {
        let mut gate = gate();
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        (0..5).for_each(|_| gate.offend(at(0), PHONE.parse().unwrap(), wrong("1002")));
        assert_eq!(gate.judge(at(0), &packet(PHONE, register("1002"))), Verdict::Drop(Why::Locked));
        assert_eq!(gate.judge(at(0), &packet(PHONE, register("1001"))), Verdict::Serve);
        gate.learn(Mono(0), &bindings("1002", &[PHONE]));
        assert_eq!(gate.judge(at(0), &packet(PHONE, register("1002"))), Verdict::Serve);
    }

    #[test]
    fn a_neighbour_who_guesses_does_not_shut_out_the_phone_that_is_there() {
        let mut gate = gate();
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        let neighbour = "192.0.2.7:50000";
        for _ in 0..5 {
            gate.judge(at(0), &packet(neighbour, register("1001")));
            gate.offend(at(0), neighbour.parse().unwrap(), wrong("1001"));
        }
        assert_eq!(gate.judge(at(0), &packet(neighbour, register("1001"))), Verdict::Drop(Why::Locked));
        assert_eq!(gate.judge(at(0), &packet(PHONE, register("1001"))), Verdict::Serve);
        let by_connection = Packet { flow: Flow { connection: 7, ..flow(PHONE) }, ..packet(PHONE, Kind::Other) };
        assert_eq!(
            gate.judge(at(0), &by_connection),
            Verdict::Drop(Why::Uninvited),
            "another flow of the same address"
        );
    }

    #[test]
    fn a_home_stays_one_for_an_hour_after_its_last_phone_went() {
        const HOUR_MS: u64 = 3_600_000;
        let mut gate = gate();
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        gate.learn(Mono::from_ms(500), &bindings("1001", &[]));
        gate.expect(Mono(0), SCANNER.parse::<SocketAddr>().unwrap().ip());
        let bans_after = |gate: &mut Gate, ms, peer: &str| {
            (0..300).for_each(|_| _ = gate.judge(at(ms), &packet(peer, Kind::Other)));
            gate.bans(at(ms).mono).len()
        };
        assert_eq!(bans_after(&mut gate, HOUR_MS - 1, PHONE), 0);
        assert_eq!(bans_after(&mut gate, HOUR_MS - 1, SCANNER), 0);
        assert_eq!(bans_after(&mut gate, HOUR_MS, SCANNER), 1, "it never came back");
        assert_eq!(bans_after(&mut gate, HOUR_MS + 500, PHONE), 2);
    }

    #[test]
    fn connections_are_counted_for_a_source_and_for_all_and_the_banned_have_none() {
        let mut gate = gate();
        let ip = |n: u32| -> IpAddr { std::net::Ipv4Addr::from(0x0a00_0000 + n).into() };
        let knocks = |gate: &mut Gate, ms, count, ip: &dyn Fn(u32) -> IpAddr| {
            (0..count).filter(|n| gate.knock(at(ms), ip(*n)) != Knock::Refused).count()
        };
        assert_eq!(knocks(&mut gate, 0, 100, &|_| ip(0)), 40);
        assert_eq!(knocks(&mut gate, 1_000, 10, &|_| ip(0)), 4);
        assert_eq!(knocks(&mut gate, 10_000, 5_000, &|n| ip(1 + n)), 800, "of all strangers");
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        let home = PHONE.parse::<SocketAddr>().unwrap().ip();
        assert_eq!(gate.knock(at(10_000), home), Knock::Known, "strangers do not shut out homes");
        assert_eq!(knocks(&mut gate, 10_000, 1_000, &|_| home), 399);
        assert_eq!(gate.bans(at(10_000).mono), []);
        (0..200).for_each(|_| _ = gate.knock(at(20_000), ip(0)));
        assert!(gate.is_banned(at(20_000).mono, ip(0)));
        assert_eq!(gate.knock(at(40_000), ip(0)), Knock::Refused);
    }

    #[test]
    fn phones_come_back_through_a_flood_of_strangers() {
        let mut gate = gate();
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        for n in 0..20_000u32 {
            let peer = SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), 5060);
            gate.judge(at(0), &Packet { flow: from(peer), ..packet(SCANNER, register("1")) });
        }
        assert_eq!(gate.judge(at(0), &packet(SCANNER, register("1"))), Verdict::Drop(Why::TooMany));
        assert_eq!(gate.judge(at(0), &packet("192.0.2.7:40001", register("1001"))), Verdict::Prove);
    }

    #[test]
    fn rates_hold_for_a_source_for_all_and_for_a_phone() {
        let mut gate = gate();
        let passed = |gate: &mut Gate, ms, count, peer: &dyn Fn(u32) -> SocketAddr| {
            let judged = (0..count).map(|n| Packet { flow: from(peer(n)), ..packet(SCANNER, register("1")) });
            judged.filter(|packet| gate.judge(at(ms), packet) == Verdict::Prove).count()
        };
        let one = |_| SCANNER.parse().unwrap();
        assert_eq!(passed(&mut gate, 0, 450, &one), 400);
        assert_eq!(passed(&mut gate, 1_000, 45, &one), 40);
        let many = |n: u32| SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), 5060);
        assert_eq!(passed(&mut gate, 3_000, 100_000, &many), 8_000);
        assert_eq!(passed(&mut gate, 3_500, 100_000, &many), 2_000);
        // Two phones behind one flow have the rate of two.
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        gate.learn(Mono(0), &bindings("1002", &[PHONE]));
        let served = (0..1_000).filter(|_| gate.judge(at(4_000), &packet(PHONE, Kind::Other)) == Verdict::Serve);
        assert_eq!(served.count(), 400);
    }

    #[test]
    fn a_flood_from_everywhere_leaves_the_known_as_they_were() {
        let mut gate = gate();
        gate.learn(Mono(0), &bindings("1001", &[PHONE]));
        for n in 0..400_000u32 {
            let peer = SocketAddr::new(std::net::Ipv4Addr::from(n.wrapping_mul(2_654_435_761)).into(), 5060);
            let kind = if n % 3 == 0 { register("1001") } else { Kind::Other };
            gate.judge(at(u64::from(n) / 30), &Packet { flow: from(peer), trunk: false, welcome: false, kind });
        }
        assert_eq!(gate.judge(at(14_000), &packet(PHONE, Kind::Other)), Verdict::Serve);
        assert_eq!(gate.bans(at(14_000).mono), [], "nobody sent enough for a ban");
    }
}
