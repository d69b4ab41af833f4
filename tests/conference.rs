//! From two parties to three and back on the wire: real sockets, and what each phone was sent, packet by packet.

use crate::support::wav::RATE;
use jiesu::base::{LegId, MediaThreadId, Mono, ShardId};
use jiesu::media::event::{Action, HeardBy, Parties, Party, Remote};
use jiesu::media::rtp::{Header, Packet};
use jiesu::media::{Library, g711};
use jiesu::net::ports::Ports;
use jiesu::node::media::{MediaThreads, Message, Settings};
use jiesu::sdp::{Codec, Direction};
use std::f64::consts::TAU;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PTIME: Duration = Duration::from_millis(20);
const FRAME: usize = 160;
/// A quarter of the loudest, -12 dBFS.
const LEVEL: f64 = 8_192.0;
/// Each has a whole number of periods in 100 ms and together they have none shorter: what A-law adds to their sum is spread
/// over many pitches instead of falling on one of them.
const CITIZEN_HZ: f64 = 410.0;
const AGENT_HZ: f64 = 1_030.0;
const LEAD_HZ: f64 = 1_810.0;

fn leg(number: u64) -> LegId {
    LegId::incoming(ShardId(0), number)
}

/// A telephone that hums, and keeps all it is sent.
struct Phone {
    socket: UdpSocket,
    engine: SocketAddr,
    hz: f64,
}

/// When it came, and what.
struct Heard {
    at: Instant,
    header: Header,
    sound: Vec<i16>,
}

impl Phone {
    fn new(threads: &MediaThreads, ports: &mut Ports, number: u64, hz: f64) -> Phone {
        let pair = ports.open(Mono(0), None).expect("ports are free");
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        let rtp = socket.local_addr().unwrap();
        let phone = Phone { socket, engine: pair.local, hz };
        let remote = Remote {
            rtp,
            rtcp: SocketAddr::new(rtp.ip(), 9),
            codec: Codec::Pcma,
            payload_type: 8,
            telephone_event: Some(101),
            direction: Direction::SendRecv,
            ptime_ms: 20,
        };
        let leg = leg(number);
        threads.send(MediaThreadId(0), Message::Open { leg, pair }).unwrap();
        ask(threads, Action::Open { leg, seed: number });
        ask(threads, Action::Connect { leg, remote });
        phone
    }

    fn say(&self, count: u16) {
        let from = usize::from(count) * FRAME;
        let sample = |n: usize| ((TAU * self.hz * n as f64 / RATE as f64).sin() * LEVEL) as i16;
        let sound: Vec<i16> = (from..from + FRAME).map(sample).collect();
        let mut bytes = Vec::new();
        let header =
            Header { marker: false, payload_type: 8, sequence: count, timestamp: from as u32, ssrc: self.hz as u32 };
        header.write(&mut bytes);
        bytes.extend(g711::encode(Codec::Pcma, &sound));
        self.socket.send_to(&bytes, self.engine).unwrap();
    }

    /// Speaks and listens until told to stop; says each packet that it has sent.
    fn talk(&self, stop: &AtomicBool, said: &Sender<u16>) -> Vec<Heard> {
        let (start, mut heard, mut bytes) = (Instant::now(), Vec::new(), [0; 2_048]);
        for count in 0..u16::MAX {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            self.say(count);
            said.send(count).unwrap_or_default();
            let next = start + PTIME * u32::from(count + 1);
            while let Some(left) = next.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                self.socket.set_read_timeout(Some(left)).unwrap();
                let Ok(length) = self.socket.recv(&mut bytes) else { continue };
                let Packet { marker, payload_type, sequence, timestamp, ssrc, payload } =
                    Packet::read(&bytes[..length]).expect("RTP comes here");
                let header = Header { marker, payload_type, sequence, timestamp, ssrc };
                heard.push(Heard { at: Instant::now(), header, sound: g711::decode(Codec::Pcma, payload) });
            }
        }
        heard
    }
}

fn ask(threads: &MediaThreads, action: Action) {
    threads.send(MediaThreadId(0), Message::Action(action)).unwrap();
}

fn wait_for(said: &Receiver<u16>, count: u16) -> Instant {
    while said.recv().expect("the phone speaks") < count {}
    Instant::now()
}

/// How loud one tone is in `sound`, of the level that it was said with.
fn share(sound: &[i16], hz: f64) -> f64 {
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, &sample) in sound.iter().enumerate() {
        let angle = TAU * hz * n as f64 / RATE as f64;
        sine += f64::from(sample) * angle.sin();
        cosine += f64::from(sample) * angle.cos();
    }
    2.0 * sine.hypot(cosine) / sound.len() as f64 / LEVEL
}

/// What was heard from 300 ms after `from` until `to`, packet by packet.
fn between(heard: &[Heard], from: Instant, to: Instant) -> Vec<i16> {
    let settled = from + Duration::from_millis(300);
    let sounds = heard.iter().filter(|heard| (settled..to).contains(&heard.at)).flat_map(|heard| &heard.sound);
    sounds.copied().collect()
}

/// A tone in pieces of 100 ms, the least of it first.
fn shares(sound: &[i16], hz: f64) -> Vec<f64> {
    let mut shares: Vec<f64> = sound.chunks_exact(5 * FRAME).map(|piece| share(piece, hz)).collect();
    assert!(shares.len() >= 10, "a second was heard");
    shares.sort_by(f64::total_cmp);
    shares
}

/// The least and the most of a tone in pieces of 100 ms.
fn range(sound: &[i16], hz: f64) -> (f64, f64) {
    let shares = shares(sound, hz);
    (shares[0], shares[shares.len() - 1])
}

/// Asserts one source and one line of numbers, on which at most 20 ms are missing at once; gives the sound on it.
fn stream(heard: &[Heard]) -> Vec<i16> {
    let mut sound = heard[0].sound.clone();
    for pair in heard.windows(2) {
        let (one, next) = (&pair[0].header, &pair[1].header);
        assert_eq!(next.ssrc, one.ssrc, "one source for the whole call");
        assert_eq!(next.sequence, one.sequence.wrapping_add(1), "no number is left out or told twice");
        let step = next.timestamp.wrapping_sub(one.timestamp) as usize;
        let gap = step.checked_sub(pair[0].sound.len()).expect("no sample is told twice");
        assert!(gap <= FRAME, "{gap} samples are missing");
        sound.resize(sound.len() + gap, 0);
        sound.extend(&pair[1].sound);
    }
    sound
}

/// The longest stretch without the tone, in samples.
fn longest_gap(sound: &[i16], hz: f64) -> usize {
    const HOP: usize = 20;
    let (mut longest, mut now) = (0, 0);
    for window in sound.windows(FRAME).step_by(HOP) {
        now = if share(window, hz) < 0.5 { now + HOP } else { 0 };
        longest = longest.max(now);
    }
    longest
}

#[test]
fn relay_conference_whisper_and_relay_again_are_one_stream_for_each() {
    let settings = Settings { threads: 1, pin: false, prompts: Arc::new(Library::new()), seed: 1 };
    let threads = MediaThreads::start(&settings, drop, || |taps: &mut Vec<_>| taps.clear(), |_, _| {}).unwrap();
    let mut ports = Ports::new(&[LOOPBACK], 20_000..=29_999).unwrap();
    let phones = [(1, CITIZEN_HZ), (2, AGENT_HZ), (3, LEAD_HZ)].map(|(n, hz)| Phone::new(&threads, &mut ports, n, hz));
    let [citizen, agent, lead] = [1, 2, 3].map(leg);
    let confer = |parties: Vec<Party>| {
        let parties = Parties::new(parties).unwrap();
        ask(&threads, Action::Conference { citizen, parties });
    };
    ask(&threads, Action::Bridge { a: citizen, b: agent });
    let stop = AtomicBool::new(false);
    let (says, said) = channel();
    let (heard, [mixed, whispered, back, end]) = std::thread::scope(|scope| {
        let talking = phones.each_ref().map(|phone| {
            let (says, stop) = (says.clone(), &stop);
            scope.spawn(move || phone.talk(stop, &says))
        });
        wait_for(&said, 75);
        confer([citizen, agent, lead].map(Party::new).to_vec());
        let mixed = wait_for(&said, 76);
        let whispered = wait_for(&said, 175);
        confer(vec![
            Party::new(citizen),
            Party::new(agent),
            Party { heard_by: HeardBy::Only(agent), ..Party::new(lead) },
        ]);
        let back = wait_for(&said, 275);
        ask(&threads, Action::Bridge { a: citizen, b: agent });
        let end = wait_for(&said, 375);
        stop.store(true, Ordering::Relaxed);
        (talking.map(|phone| phone.join().unwrap()), [mixed, whispered, back, end])
    });
    let [citizen, agent, lead] = heard;
    for (all, hz) in [(&citizen, AGENT_HZ), (&agent, CITIZEN_HZ)] {
        // The first packets find the port that is only just open.
        let sound = stream(&all[10..]);
        let gap = longest_gap(&sound, hz);
        println!("{hz} Hz: {} packets, longest gap {} ms", all.len(), gap / 8);
        assert!(gap <= FRAME, "{hz} Hz is not heard for {gap} samples");
        let loud = range(&between(all, back, end), hz);
        assert!(loud.0 > 0.9 && loud.1 < 1.1, "relayed again: {loud:?}");
    }
    stream(&lead);
    for (all, from, to, audible, not) in [
        (&citizen, mixed, whispered, vec![AGENT_HZ, LEAD_HZ], CITIZEN_HZ),
        (&agent, mixed, whispered, vec![CITIZEN_HZ, LEAD_HZ], AGENT_HZ),
        (&lead, mixed, whispered, vec![CITIZEN_HZ, AGENT_HZ], LEAD_HZ),
        (&citizen, whispered, back, vec![AGENT_HZ], LEAD_HZ),
        (&agent, whispered, back, vec![CITIZEN_HZ, LEAD_HZ], AGENT_HZ),
        (&lead, whispered, back, vec![CITIZEN_HZ, AGENT_HZ], LEAD_HZ),
    ] {
        let sound = between(all, from, to);
        for hz in audible {
            let (least, most) = range(&sound, hz);
            assert!(least > 0.5 && most < 1.2, "{hz} Hz: {least} to {most}");
        }
        // Of the level of a tone, which itself is 12 dB below the loudest. The middle piece, for where a late packet of the
        // others was concealed their tones have a bit of every pitch.
        let shares = shares(&sound, not);
        let dbfs = 20.0 * (shares[shares.len() / 2] / 4.0).log10();
        println!("{not} Hz where it must not be heard: {dbfs:.0} dBFS");
        assert!(dbfs < -60.0, "{not} Hz at {dbfs} dBFS");
    }
}
