//! The edge under load: a city's phones that register at once, and a flood of strangers, with the town calling meanwhile.
//!
//! An engine of its own, for which only one address is a trunk: everybody else on the loopback is a stranger.

use crate::engine::{DOMAIN, Engine, PASSWORD, agent_name};
use crate::row;
use crate::sound::Phones;
use crate::town::{IN_TIME_US, Outcome, Plan, Town};
use crate::wire::{Heard, Request, authorization};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where the town's citizens and agents are: a trunk's address.
const TRUNK: &str = "127.0.0.1/32";
const AGENTS: usize = 300;
const PHONES: usize = 10_000;
/// Offices, each behind an address of its own.
const OFFICES: usize = 100;
const PHONES_EACH: usize = PHONES / OFFICES;
/// Registrations on their way at once: what sockets hold.
const OPEN_MAX: usize = 1_000;
const REPEAT_AFTER: Duration = Duration::from_millis(500);
const REGISTERING_MAX: Duration = Duration::from_secs(120);
const CALLS_PER_S: f64 = 100.0;
const CALLING: Duration = Duration::from_secs(10);
const FLOOD_PER_S: u64 = 30_000;
const FLOOD_SOURCES: u8 = 250;
const TALKS: usize = 10;

/// Both rows.
pub fn measure() {
    let engine = Engine::start_for(AGENTS, PHONES, TRUNK);
    let mut town = Town::new(engine.sip);
    town.register(0..AGENTS);
    engine.ready(0..AGENTS);
    town.run(Plan::steady(CALLS_PER_S, Duration::from_secs(3)));
    registrations(&engine, &mut town);
    flood(&engine, &mut town);
    println!("    edge: {}", engine.internals()["edge"]);
    println!("    faults: {}", engine.internals()["faults"]);
    println!("engine's log, newest first:\n{}", engine.log());
}

fn in_time(outcome: &Outcome) -> u64 {
    outcome.reach_us.count_between(0, IN_TIME_US)
}

fn registrations(engine: &Engine, town: &mut Town) {
    engine.settled();
    let before = engine.spent();
    let mut offices: Vec<Office> = (0..OFFICES).map(|number| Office::new(engine.sip, number)).collect();
    register(&mut offices);
    let (first, wall) = (engine.spent().cpu - before.cpu, before.at.elapsed());
    engine.settled();
    let bound = bindings(engine);
    let conditions = format!(
        "{PHONES} phones behind {OFFICES} addresses, digest, 401 and 200 each, in {:.1} s; {bound} bindings",
        wall.as_secs_f64()
    );
    row("CPU for 10,000 registrations", format!("{:.2} s", first.as_secs_f64()), "≤ 5 s", conditions);

    let quiet = town.run(Plan::steady(CALLS_PER_S, CALLING));
    let again = std::thread::spawn(move || {
        let began = Instant::now();
        register(&mut offices);
        began.elapsed()
    });
    let busy = town.run(Plan::steady(CALLS_PER_S, CALLING));
    let lasted = again.join().expect("all phones register again");
    engine.settled();
    let share = 100.0 * in_time(&busy) as f64 / in_time(&quiet).max(1) as f64;
    let conditions = format!(
        "{CALLS_PER_S}/s for {} s while all {PHONES} register again in {:.1} s; {} of {} in time, without them {}; \
         {} bindings then",
        CALLING.as_secs(),
        lasted.as_secs_f64(),
        in_time(&busy),
        Plan::steady(CALLS_PER_S, CALLING).calls,
        in_time(&quiet),
        bindings(engine)
    );
    row("queued calls in time while phones register", format!("{share:.1} %"), "≥ 99 %", conditions);
}

fn bindings(engine: &Engine) -> u64 {
    engine.internals()["shards"][0]["sip"]["bindings"].as_u64().unwrap_or(0)
}

/// Phones behind one address.
struct Office {
    engine: SocketAddr,
    socket: UdpSocket,
    first: usize,
    round: u32,
    open: Vec<Option<(Instant, String)>>,
}

impl Office {
    fn new(engine: SocketAddr, number: usize) -> Office {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, 0, 1 + number as u8), 0)).expect("the loopback is wide");
        socket.set_nonblocking(true).expect("sockets need not block");
        Office { engine, socket, first: AGENTS + number * PHONES_EACH, round: 0, open: vec![None; PHONES_EACH] }
    }

    fn send(&mut self, phone: usize, cseq: u32, more: &str) {
        let (name, here) = (agent_name(self.first + phone), self.socket.local_addr().expect("bound"));
        let own = format!("<sip:{name}@{DOMAIN}>");
        let text = Request {
            method: "REGISTER",
            uri: &format!("sip:{DOMAIN}"),
            local: here,
            branch: &format!("r{name}.{cseq}"),
            from: &format!("{own};tag=r"),
            to: &own,
            call_id: &format!("r{}", self.first + phone),
            cseq,
            contact: &format!("sip:{name}@{here}"),
            more: &format!("Expires: 3600\r\n{more}"),
            body: "",
        }
        .text();
        // What the loopback does not take is sent again.
        let _ = self.socket.send_to(text.as_bytes(), self.engine);
        self.open[phone] = Some((Instant::now(), text));
    }

    /// Takes all answers; returns how many phones are done.
    fn answers(&mut self) -> usize {
        let (mut done, mut buffer) = (0, [0; 4_096]);
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let heard = Heard::read(&text);
            let index: usize = heard.call_id.trim_start_matches('r').parse().expect("our Call-ID");
            let (phone, cseq) = (index - self.first, 2 * self.round);
            let asked = heard.cseq.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            match (heard.status(), asked == cseq + 1) {
                (Some(401), true) if self.open[phone].is_some() => {
                    let uri = format!("sip:{DOMAIN}");
                    let proof = authorization(heard.challenge, &agent_name(index), PASSWORD, &uri);
                    self.send(phone, cseq + 2, &proof);
                }
                (Some(200), _) => done += usize::from(self.open[phone].take().is_some()),
                _ => {}
            }
        }
        done
    }

    fn repeat(&mut self) {
        for open in self.open.iter_mut().flatten() {
            if open.0.elapsed() > REPEAT_AFTER {
                open.0 = Instant::now();
                let _ = self.socket.send_to(open.1.as_bytes(), self.engine);
            }
        }
    }
}

/// Registers all phones of all offices.
fn register(offices: &mut [Office]) {
    let (began, mut next, mut done) = (Instant::now(), 0, 0);
    while done < PHONES {
        while next < PHONES && next - done < OPEN_MAX {
            let office = &mut offices[next % OFFICES];
            office.send(next / OFFICES, 2 * office.round + 1, "");
            next += 1;
        }
        done += offices.iter_mut().map(Office::answers).sum::<usize>();
        offices.iter_mut().for_each(Office::repeat);
        std::thread::sleep(Duration::from_millis(1));
        assert!(began.elapsed() < REGISTERING_MAX, "{done} of {PHONES} phones registered");
    }
    offices.iter_mut().for_each(|office| office.round += 1);
}

/// Strangers who send what scanners send.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<u64>,
    began: Instant,
}

impl Flood {
    fn start(engine: SocketAddr) -> Flood {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || pour(engine, &stopped, &counted));
        Flood { stop, sent, thread, began: Instant::now() }
    }

    /// Packets a second, and answers.
    fn end(self) -> (f64, u64) {
        let rate = self.sent.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64();
        self.stop.store(true, Ordering::Relaxed);
        (rate, self.thread.join().expect("the flood ends"))
    }
}

fn pour(engine: SocketAddr, stop: &AtomicBool, sent: &AtomicU64) -> u64 {
    let socket = |number| {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 2, 0, 1 + number), 0)).expect("the loopback is wide");
        socket.set_nonblocking(true).expect("sockets need not block");
        socket
    };
    let sockets: Vec<UdpSocket> = (0..FLOOD_SOURCES).map(socket).collect();
    let (began, mut count) = (Instant::now(), 0u64);
    while !stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_micros() as u64 * FLOOD_PER_S / 1_000_000;
        while count < due {
            let socket = &sockets[count as usize % sockets.len()];
            let _ = socket.send_to(&rubbish(count, socket.local_addr().expect("bound")), engine);
            count += 1;
        }
        sent.store(count, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut buffer = [0; 2_048];
    sockets.iter().map(|socket| std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count() as u64).sum()
}

/// Garbage, an INVITE or a REGISTER of a domain that is served, in turn.
fn rubbish(count: u64, local: SocketAddr) -> Vec<u8> {
    let method = match count % 3 {
        0 => return (0..200u64).map(|at| (count.wrapping_mul(at + 7) >> 3) as u8).collect(),
        1 => "INVITE",
        _ => "REGISTER",
    };
    let (user, id) = (format!("{}", count % 10_000), format!("f{count}"));
    let request = Request {
        method,
        uri: &format!("sip:12345@{DOMAIN}"),
        local,
        branch: &id,
        from: &format!("<sip:{user}@{DOMAIN}>;tag=f"),
        to: &format!("<sip:{user}@{DOMAIN}>"),
        call_id: &id,
        cseq: 1,
        contact: &format!("sip:{user}@{local}"),
        more: "User-Agent: friendly-scanner\r\n",
        body: "",
    };
    request.text().into_bytes()
}

fn flood(engine: &Engine, town: &mut Town) {
    engine.settled();
    let quiet = town.run(Plan::steady(CALLS_PER_S, CALLING));
    let mut phones = Phones::new(TALKS);
    let talk = Plan::steady(50.0, Duration::from_secs_f64(TALKS as f64 / 50.0));
    engine.settled();
    let memory = engine.memory_kib("VmRSS");
    let before = engine.spent();
    let flood = Flood::start(engine.sip);
    let busy = town.run(Plan::steady(CALLS_PER_S, CALLING));
    town.run(Plan { talk: None, sound: phones.ports.clone(), ..talk });
    let heard = phones.speak(&town.sound(), CALLING, || {});
    let grown = (engine.memory_kib("VmRSS") - memory) / 1_024.0;
    let cores = (engine.spent().cpu - before.cpu).as_secs_f64() / before.at.elapsed().as_secs_f64();
    let (rate, answers) = flood.end();
    town.end();
    let share = 100.0 * in_time(&busy) as f64 / in_time(&quiet).max(1) as f64;
    let conditions = format!(
        "{rate:.0} packets/s from {FLOOD_SOURCES} strangers, a third each garbage, INVITE, REGISTER, {answers} answered; \
         {CALLS_PER_S} calls/s by the trunk: {} in time, without the flood {}; engine {cores:.2} cores",
        in_time(&busy),
        in_time(&quiet)
    );
    row("calls of a trunk in a flood of strangers", format!("{share:.1} %"), "≥ 95 %", &conditions);
    let lost = heard.sent.saturating_sub(heard.heard);
    let conditions = format!("{TALKS} bridged calls for {} s in that flood", CALLING.as_secs());
    row("packets of running calls lost in it", format!("{lost} of {}", heard.sent), "0", conditions);
    row("memory grown by it", format!("{grown:.0} MiB"), "≤ 64 MiB", "resident, with the calls");
}
