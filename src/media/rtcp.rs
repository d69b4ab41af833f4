//! RTCP (RFC 3550 §6): reports every five seconds or so, BYE at the end, and what the other side reports of us.
//!
//! Compound packets are written as SR or RR, SDES with a CNAME of our own choice (RFC 7022), and BYE. Nothing is sent
//! before RTP has flowed. Between two parties the bandwidth rules of §6.2 always come out at the minimum interval.

use crate::base::map::keyed_hash;
use crate::base::{Mono, Now};
use std::fmt::Write as _;
use std::time::Duration;

/// RFC 3550 §6.2: the minimum interval; half of it before the first report.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest round trip that is believed.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
/// RFC 3550 §6.3.1: e − 3/2, in millionths.
const COMPENSATION_MILLIONTHS: u64 = 1_218_280;
/// From 1900 (NTP) to 1970 (RFC 3550 §4).
const NTP_EPOCH_S: u64 = 2_208_988_800;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const BLOCK_LEN: usize = 24;
const CNAME_LEN: usize = 24;

/// Why bytes are no compound RTCP packet (RFC 3550 A.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Shorter than its lengths say.
    #[error("cut short")]
    Short,
    /// Not version 2.
    #[error("not RTCP version 2")]
    Version,
    /// The first packet is neither SR nor RR, or is padded.
    #[error("does not begin with a report")]
    NoReport,
}

/// A report block (§6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// About whom.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning; negative with duplicates. 24 bits.
    pub lost: i32,
    /// Highest sequence number, extended by the number of wraps.
    pub highest: u32,
    /// In samples.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last SR; 0 if none came.
    pub last_sr: u32,
    /// Since that SR came, in 65536ths of a second.
    pub delay: u32,
}

/// What a sender report says of its sender (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// NTP time, 32.32 bits.
    pub ntp: u64,
    /// The same instant as an RTP time stamp.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

/// What a compound packet tells us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compound {
    /// Middle 32 bits of the NTP time, if it begins with an SR.
    pub sent: Option<u32>,
    /// The block about us.
    pub about_us: Option<ReportBlock>,
    /// The source says good-bye.
    pub bye: bool,
}

impl Compound {
    /// Reads one datagram; `ours` is our SSRC.
    pub fn read(bytes: &[u8], ours: u32) -> Result<Compound, ReadError> {
        let mut compound = Compound::default();
        let mut rest = bytes;
        let mut first = true;
        while !rest.is_empty() {
            let &[flags, kind, high, low, ..] = rest else {
                return Err(ReadError::Short);
            };
            if flags >> 6 != 2 {
                return Err(ReadError::Version);
            }
            // A.2: the first of a compound is a report without padding.
            if first && (!matches!(kind, SENDER_REPORT | RECEIVER_REPORT) || flags & 0x20 != 0) {
                return Err(ReadError::NoReport);
            }
            first = false;
            let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
            let body = rest.get(4..length).ok_or(ReadError::Short)?;
            let count = usize::from(flags & 0x1f);
            match kind {
                SENDER_REPORT => {
                    let ntp = body.get(4..12).ok_or(ReadError::Short)?;
                    compound.sent = Some(word(&ntp[2..]));
                    compound.about_us = compound.about_us.or(find_block(body.get(24..), count, ours)?);
                }
                RECEIVER_REPORT => compound.about_us = compound.about_us.or(find_block(body.get(4..), count, ours)?),
                BYE => compound.bye = true,
                // SDES, APP, feedback and extended reports tell us nothing we act on.
                _ => {}
            }
            rest = &rest[length..];
        }
        if first { Err(ReadError::Short) } else { Ok(compound) }
    }
}

fn find_block(blocks: Option<&[u8]>, count: usize, about: u32) -> Result<Option<ReportBlock>, ReadError> {
    let blocks = blocks.and_then(|blocks| blocks.get(..count * BLOCK_LEN)).ok_or(ReadError::Short)?;
    Ok(blocks.chunks_exact(BLOCK_LEN).find(|block| word(block) == about).map(|block| ReportBlock {
        ssrc: about,
        fraction_lost: block[4],
        // 24 bits with a sign.
        lost: (word(&block[4..]) << 8) as i32 >> 8,
        highest: word(&block[8..]),
        jitter: word(&block[12..]),
        last_sr: word(&block[16..]),
        delay: word(&block[20..]),
    }))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Appends an SR, or an RR when `sender` is `None`.
pub fn write_report(out: &mut Vec<u8>, ssrc: u32, sender: Option<Sender>, block: Option<ReportBlock>) {
    let kind = if sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
    let words = 1 + if sender.is_some() { 5 } else { 0 } + if block.is_some() { 6 } else { 0 };
    write_head(out, u8::from(block.is_some()), kind, words);
    out.extend_from_slice(&ssrc.to_be_bytes());
    if let Some(sender) = sender {
        out.extend_from_slice(&sender.ntp.to_be_bytes());
        for word in [sender.timestamp, sender.packets, sender.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    if let Some(block) = block {
        let loss = u32::from(block.fraction_lost) << 24 | block.lost as u32 & 0xff_ffff;
        for word in [block.ssrc, loss, block.highest, block.jitter, block.last_sr, block.delay] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// Appends an SDES packet with one CNAME item (§6.5.1).
pub fn write_cname(out: &mut Vec<u8>, ssrc: u32, cname: &[u8; CNAME_LEN]) {
    // The item, its end and padding to a word: 2 + 24 + 2 bytes.
    write_head(out, 1, SOURCE_DESCRIPTION, 1 + (2 + CNAME_LEN + 2) / 4);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, CNAME_LEN as u8]);
    out.extend_from_slice(cname);
    out.extend_from_slice(&[0, 0]);
}

/// Appends a BYE (§6.6).
pub fn write_bye(out: &mut Vec<u8>, ssrc: u32) {
    write_head(out, 1, BYE, 1);
    out.extend_from_slice(&ssrc.to_be_bytes());
}

fn write_head(out: &mut Vec<u8>, count: u8, kind: u8, words: usize) {
    out.extend_from_slice(&[0x80 | count, kind, (words >> 8) as u8, words as u8]);
}

/// The control side of one leg: when to report, and what was reported.
#[derive(Clone, Debug)]
pub struct Control {
    seed: u64,
    opened: Now,
    cname: [u8; CNAME_LEN],
    /// Reports written, which is also the count of the dice.
    reports: u32,
    due: Option<Mono>,
    /// Packets sent at the last report and at the one before.
    sent_prior: [u64; 2],
    /// The other side's last SR and when it came.
    heard_sr: Option<(u32, Mono)>,
    /// What the other side last said of us.
    far: Option<ReportBlock>,
    round_trip: Option<Duration>,
}

/// What a leg has sent when it reports.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Our SSRC.
    pub ssrc: u32,
    /// The RTP time stamp of this instant.
    pub timestamp: u32,
    /// Packets.
    pub packets: u64,
    /// Payload bytes.
    pub octets: u64,
}

impl Control {
    /// Nothing is due until [`Control::flow`].
    pub fn new(seed: u64, now: Now) -> Control {
        let mut name = String::with_capacity(32);
        for part in [&b"cname 1"[..], b"cname 2"] {
            write!(name, "{:016x}", keyed_hash([seed, 0], part)).expect("a string takes all");
        }
        let cname = *name.as_bytes().first_chunk().expect("32 digits are more than 24");
        let (reports, sent_prior) = (0, [0; 2]);
        Control {
            seed,
            opened: now,
            cname,
            reports,
            due: None,
            sent_prior,
            heard_sr: None,
            far: None,
            round_trip: None,
        }
    }

    /// RTP flows, one way or the other: the first report is due half an interval later (§6.2).
    pub fn flow(&mut self, now: Mono) {
        if self.due.is_none() {
            self.due = Some(now + self.interval() / 2);
        }
    }

    /// When to report next.
    pub fn deadline(&self) -> Option<Mono> {
        self.due
    }

    /// Appends the report of now and sets the next.
    pub fn report(&mut self, now: Mono, sent: Sent, block: Option<ReportBlock>, out: &mut Vec<u8>) {
        self.write(now, sent, block, out);
        self.reports += 1;
        self.due = Some(now + self.interval());
    }

    /// Appends the last words. Not called for a leg that never sent anything (§6.3.7).
    pub fn bye(&mut self, now: Mono, sent: Sent, block: Option<ReportBlock>, out: &mut Vec<u8>) {
        self.write(now, sent, block, out);
        write_bye(out, sent.ssrc);
        self.due = None;
    }

    /// Reports written so far.
    pub fn reports(&self) -> u32 {
        self.reports
    }

    /// Takes in what the other side sent.
    pub fn hear(&mut self, now: Mono, compound: &Compound) {
        if let Some(sent) = compound.sent {
            self.heard_sr = Some((sent, now));
        }
        if let Some(block) = compound.about_us {
            self.far = Some(block);
            if block.last_sr != 0 {
                let middle = (self.ntp(now) >> 16) as u32;
                let trip = middle.wrapping_sub(block.last_sr).wrapping_sub(block.delay);
                // A far clock that rounds up makes a trip of less than nothing.
                let trip = (trip as i32).max(0).unsigned_abs();
                let trip = Duration::from_nanos((u64::from(trip) * 1_000_000_000) >> 16);
                // Who tells of longer ones is wrong, or lies.
                self.round_trip = Some(trip).filter(|trip| *trip <= ROUND_TRIP_MAX).or(self.round_trip);
            }
        }
    }

    /// What the other side last said of our packets.
    pub fn far(&self) -> Option<ReportBlock> {
        self.far
    }

    /// There and back (§6.4.1), from the last report that allowed it.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    fn write(&mut self, now: Mono, sent: Sent, block: Option<ReportBlock>, out: &mut Vec<u8>) {
        // §6.4: an SR if we sent since the report before the last one.
        let sender = (sent.packets > self.sent_prior[1]).then(|| Sender {
            ntp: self.ntp(now),
            timestamp: sent.timestamp,
            packets: sent.packets as u32,
            octets: sent.octets as u32,
        });
        self.sent_prior = [sent.packets, self.sent_prior[0]];
        let block = block.map(|block| match self.heard_sr {
            Some((last_sr, at)) => {
                let delay = (now.since(at).as_nanos() << 16) / 1_000_000_000;
                ReportBlock { last_sr, delay: delay as u32, ..block }
            }
            None => block,
        });
        write_report(out, sent.ssrc, sender, block);
        write_cname(out, sent.ssrc, &self.cname);
    }

    /// The clock of our reports: set once, at the opening, so that a stepped wall clock makes no false round trip.
    fn ntp(&self, now: Mono) -> u64 {
        let since_1970 = u128::from(self.opened.wall.0.max(0).unsigned_abs()) * 1_000_000;
        let ns = since_1970 + now.since(self.opened.mono).as_nanos();
        let seconds = (ns / 1_000_000_000) as u64 + NTP_EPOCH_S;
        let fraction = ((ns % 1_000_000_000) << 32) / 1_000_000_000;
        seconds << 32 | fraction as u64
    }

    /// §6.3.1: the minimum interval times 0.5 to 1.5, over the compensation.
    fn interval(&self) -> Duration {
        let roll = keyed_hash([self.seed, u64::from(self.reports)], b"rtcp interval") >> 44;
        let ns = INTERVAL.as_nanos() as u64;
        let spread = ns / 2 + (ns >> 20) * roll;
        Duration::from_nanos(spread / COMPENSATION_MILLIONTHS * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Wall;

    const BLOCK: ReportBlock =
        ReportBlock { ssrc: 7, fraction_lost: 3, lost: -2, highest: 0x1_0005, jitter: 12, last_sr: 99, delay: 65_536 };

    fn now(ms: u64) -> Now {
        Now { mono: Mono::from_ms(ms), wall: Wall(1_700_000_000_000 + ms as i64) }
    }

    #[test]
    fn reads_what_it_writes() {
        let sender = Sender { ntp: 0x1111_2222_3333_4444, timestamp: 5, packets: 6, octets: 7 };
        for (sender, sent) in [(Some(sender), Some(0x2222_3333)), (None, None)] {
            let mut bytes = Vec::new();
            write_report(&mut bytes, 1, sender, Some(BLOCK));
            write_cname(&mut bytes, 1, &[b'a'; CNAME_LEN]);
            write_bye(&mut bytes, 1);
            assert_eq!(Compound::read(&bytes, 7), Ok(Compound { sent, about_us: Some(BLOCK), bye: true }));
            assert_eq!(Compound::read(&bytes, 8).unwrap().about_us, None);
            for cut in 1..bytes.len() {
                let cut_short = Compound::read(&bytes[..cut], 7);
                assert!(cut_short.is_err() || cut_short.is_ok_and(|compound| !compound.bye), "cut at {cut}");
            }
        }
    }

    #[test]
    fn refuses_what_is_no_compound() {
        for (bytes, error) in [
            (&[][..], ReadError::Short),
            (&[0x80][..], ReadError::Short),
            (&[0x00, 201, 0, 1, 0, 0, 0, 1][..], ReadError::Version),
            (&[0x81, 202, 0, 1, 0, 0, 0, 1][..], ReadError::NoReport),
            (&[0xa0, 201, 0, 1, 0, 0, 0, 1][..], ReadError::NoReport),
            (&[0x81, 201, 0, 1, 0, 0, 0, 1][..], ReadError::Short),
            (&[0x80, 201, 0, 9, 0, 0, 0, 1][..], ReadError::Short),
        ] {
            assert_eq!(Compound::read(bytes, 1), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn reports_about_every_five_seconds_once_something_flows() {
        let mut control = Control::new(5, now(0));
        assert_eq!(control.deadline(), None);
        control.flow(Mono::from_ms(1_000));
        let mut at = control.deadline().unwrap();
        assert!((2_000..3_100).contains(&at.ms()), "{at:?}");
        let mut total = 0;
        for _ in 0..1_000 {
            control.report(at, Sent { ssrc: 1, timestamp: 0, packets: 1, octets: 1 }, None, &mut Vec::new());
            let next = control.deadline().unwrap();
            let gap = next.since(at).as_millis();
            assert!((2_050..6_160).contains(&gap), "{gap}");
            total += gap;
            at = next;
        }
        // §6.3.1: 5 s over 1.21828 on average.
        assert!((4_000..4_210).contains(&(total / 1_000)), "{total}");
    }

    #[test]
    fn a_silent_sender_becomes_a_receiver_after_two_reports() {
        let mut control = Control::new(5, now(0));
        let kinds: Vec<u8> = [10, 10, 10, 11]
            .iter()
            .map(|&packets| {
                let mut bytes = Vec::new();
                control.report(Mono(0), Sent { ssrc: 1, timestamp: 0, packets, octets: 0 }, None, &mut bytes);
                bytes[1]
            })
            .collect();
        assert_eq!(kinds, [SENDER_REPORT, SENDER_REPORT, RECEIVER_REPORT, SENDER_REPORT]);
    }

    #[test]
    fn round_trip_is_measured_on_our_own_clock() {
        let (mut near, mut far) = (Control::new(1, now(0)), Control::new(2, now(700)));
        let sent = |ssrc| Sent { ssrc, timestamp: 0, packets: 1, octets: 160 };
        let mut out = Vec::new();
        near.report(Mono::from_ms(1_000), sent(1), None, &mut out);
        far.hear(Mono::from_ms(1_030), &Compound::read(&out, 2).unwrap());
        out.clear();
        far.report(Mono::from_ms(3_030), sent(2), Some(ReportBlock { ssrc: 1, ..BLOCK }), &mut out);
        near.hear(Mono::from_ms(3_070), &Compound::read(&out, 1).unwrap());
        let trip = near.round_trip().unwrap();
        assert!((69_900..70_100).contains(&trip.as_micros()), "{trip:?}");
        assert_eq!(near.far().map(|block| block.lost), Some(-2));
    }
}
