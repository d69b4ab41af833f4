//! A citizen behind a trunk: one call, made, endured and ended in every way a citizen's call can go.

use super::dice::Dice;
use super::session::{Cue, Out, Session, Stage};
use super::text::Text;
use jiesu::base::Mono;
use std::net::SocketAddr;
use std::time::Duration;

/// A cancelled INVITE without a final answer is forgotten after this (64×T1).
const LAPSE: Duration = Duration::from_secs(32);

/// What this citizen will do.
#[derive(Clone, Debug)]
pub struct Plan {
    late_offer: bool,
    /// Our ACK of the 200: `None` never comes.
    ack_after: Option<Duration>,
    /// Hangs up so long after dialling.
    patience: Duration,
    vanish_after: Option<Duration>,
    digits: Vec<(Duration, u8)>,
    /// re-INVITEs so long after the answer.
    reinvites: Vec<(Duration, &'static str)>,
    stray_bye: bool,
    redials: bool,
}

impl Plan {
    /// Draws one. `wild` is how many in a thousand do something odd; `seeks_agent` when none asks for the farewell.
    pub fn draw(dice: &mut Dice, wild: u64, seeks_agent: bool) -> Plan {
        let odd = |dice: &mut Dice, share: u64| dice.permille(wild * share / 100);
        let patience = match dice.below(10) {
            0 => dice.ms(0, 400),
            1 => dice.ms(400, 8_000),
            2..=6 => dice.ms(8_000, 90_000),
            _ => dice.ms(60_000, 400_000),
        };
        let ack_after = match dice.below(1_000) {
            roll if roll < wild / 20 => None,
            roll if roll < wild / 8 => Some(dice.ms(500, 20_000)),
            _ => Some(Duration::ZERO),
        };
        let mut digits = Vec::new();
        for _ in 0..dice.below(5) {
            let keys: &[u8] = if seeks_agent { b"012345#*" } else { b"0123459#*" };
            digits.push((dice.ms(500, 25_000), dice.pick(keys)));
        }
        let mut reinvites = Vec::new();
        if odd(dice, 30) {
            let at = dice.ms(1_000, 60_000);
            reinvites.push((at, dice.pick(&["sendonly", "inactive", "sendrecv"])));
            reinvites.push((at + dice.ms(10, 20_000), "sendrecv"));
        }
        if odd(dice, 6) {
            let at = dice.ms(500, 60_000);
            reinvites.extend(
                (0..20).map(|n| (at + Duration::from_millis(n * 60), ["sendonly", "sendrecv"][n as usize % 2])),
            );
        }
        Plan {
            late_offer: dice.permille(100),
            ack_after,
            patience,
            vanish_after: odd(dice, 20).then(|| dice.ms(100, 120_000)),
            digits,
            reinvites,
            stray_bye: odd(dice, 10),
            redials: dice.permille(400),
        }
    }
}

/// One citizen on one call.
#[derive(Debug)]
pub struct Citizen {
    pub session: Session,
    pub number: String,
    pub dialled: String,
    pub plan: Plan,
    /// Hears and says nothing any more.
    pub vanished: bool,
    /// The engine heard no end from us but may have had none of our ACKs in time.
    pub broke_rules: bool,
    /// Our CANCEL was answered as if there were no INVITE.
    pub cancel_unknown: bool,
    wants_end: bool,
}

impl Citizen {
    /// Dials.
    pub fn dial(
        (now, me, engine): (Mono, SocketAddr, SocketAddr),
        (serial, number, dialled): (u64, String, String),
        plan: Plan,
        out: &mut Vec<Out>,
    ) -> Citizen {
        let call_id = format!("c{serial}@{me}");
        let local = format!("<sip:{number}@{me}>;tag=t{serial}");
        let target = format!("sip:{dialled}@{engine}");
        let mut session = Session::outgoing(me, call_id.clone(), local, format!("<{target}>"), target);
        let body = if plan.late_offer { String::new() } else { session.describe("sendrecv") };
        session.request(now, "INVITE", &body, out);
        out.push(Out::At(plan.patience, Cue::HangUp(call_id.clone())));
        if let Some(after) = plan.vanish_after {
            out.push(Out::At(after, Cue::Vanish(None)));
        }
        Citizen {
            session,
            number,
            dialled,
            plan,
            vanished: false,
            broke_rules: false,
            cancel_unknown: false,
            wants_end: false,
        }
    }

    /// Whether this citizen has hung up.
    pub fn left(&self) -> bool {
        self.wants_end
    }

    /// Whether this citizen tries again after a call without an agent.
    pub fn redials(&self) -> bool {
        self.plan.redials && !self.vanished
    }

    /// A message from the engine.
    pub fn hear(&mut self, now: Mono, text: &Text, out: &mut Vec<Out>) {
        match text.method() {
            None => self.response(now, text, out),
            Some("ACK") => self.session.acknowledged(text),
            Some(method) => {
                let method = method.to_owned();
                self.request(&method, text, out);
            }
        }
    }

    fn response(&mut self, now: Mono, text: &Text, out: &mut Vec<Out>) {
        let first_answer = self.session.stage == Stage::Calling;
        match self.session.response(text) {
            Some((200..=299, method)) if method == "INVITE" => {
                let cseq = text.cseq().0;
                if first_answer {
                    self.answered(text, out);
                } else if self.session.acks.contains_key(&cseq) {
                    out.push(Out::Send(self.session.acks[&cseq].clone()));
                } else if cseq > 1 {
                    let ack = self.session.ack(cseq, "");
                    out.push(Out::Send(ack));
                }
                if first_answer && self.wants_end {
                    self.hang_up(now, out);
                }
            }
            Some((status, method)) if method == "INVITE" => {
                out.push(Out::Send(self.session.ack_refusal(text)));
                if self.session.stage == Stage::Calling || status == 481 {
                    self.down(out);
                }
            }
            Some((_, method)) if method == "BYE" => self.down(out),
            Some((status, method)) if method == "CANCEL" && self.session.stage == Stage::Calling => {
                self.cancel_unknown |= status == 481;
                out.push(Out::At(LAPSE, Cue::Lapse));
            }
            Some(_) | None => {
                // A refusal is repeated until our ACK comes.
                if text.status().is_some_and(|status| status >= 300) && text.cseq().1 == "INVITE" {
                    out.push(Out::Send(self.session.ack_refusal(text)));
                }
                self.cancel_when_possible(now, out);
            }
        }
    }

    fn answered(&mut self, text: &Text, out: &mut Vec<Out>) {
        self.session.stage = Stage::Up;
        let call_id = self.session.call_id.clone();
        match self.plan.ack_after {
            Some(Duration::ZERO) => self.acknowledge(text.cseq().0, out),
            Some(after) => out.push(Out::At(after, Cue::Ack)),
            None => self.broke_rules = true,
        }
        for (after, digit) in &self.plan.digits {
            out.push(Out::At(*after, Cue::Digit(*digit)));
        }
        for (after, direction) in &self.plan.reinvites {
            out.push(Out::At(*after, Cue::Reinvite(call_id.clone(), direction)));
        }
        if self.plan.stray_bye {
            out.push(Out::At(Duration::from_secs(3), Cue::StrayBye));
        }
    }

    fn acknowledge(&mut self, cseq: u32, out: &mut Vec<Out>) {
        let body = if self.plan.late_offer { self.session.describe("sendrecv") } else { String::new() };
        let ack = self.session.ack(cseq, &body);
        self.session.acked = true;
        out.push(Out::Send(ack));
    }

    fn request(&mut self, method: &str, text: &Text, out: &mut Vec<Out>) {
        if let Some(said) = self.session.said_before(text) {
            return out.push(Out::Send(said.clone()));
        }
        let down = self.session.stage == Stage::Down;
        if !down && method != "CANCEL" && self.session.is_late(text) {
            return self.session.say(text, 500, "", out);
        }
        match method {
            "BYE" if !down => {
                self.session.say(text, 200, "", out);
                self.down(out);
            }
            "INVITE" if !down => {
                if self.session.waits_for("INVITE") {
                    return self.session.say(text, 491, "", out);
                }
                let direction = self.session.direction;
                let body = self.session.describe(direction);
                self.session.say(text, 200, &body, out);
            }
            "OPTIONS" if !down => self.session.say(text, 200, "", out),
            "CANCEL" => self.session.say(text, 200, "", out),
            _ => self.session.say(text, 481, "", out),
        }
    }

    /// The time of something planned has come.
    pub fn cue(&mut self, now: Mono, cue: Cue, out: &mut Vec<Out>) {
        let up = self.session.stage == Stage::Up;
        match cue {
            Cue::Resend(_, branch) => {
                let given_up = self.session.resend(now, &branch, out);
                if given_up {
                    self.broke_rules = true;
                    self.down(out);
                }
            }
            Cue::ResendOk(_, cseq, waited) => {
                self.session.resend_ok(cseq, waited, out);
            }
            Cue::Ack if up => {
                self.acknowledge(1, out);
                if self.wants_end {
                    self.hang_up(now, out);
                }
            }
            Cue::Lapse if self.session.stage == Stage::Calling => self.down(out),
            Cue::HangUp(_) => self.hang_up(now, out),
            Cue::Reinvite(_, direction) if up && self.session.may_reinvite() => {
                let body = self.session.describe(direction);
                self.session.request(now, "INVITE", &body, out);
            }
            Cue::StrayBye if up => {
                let bye = self.session.stray_bye();
                out.push(Out::Send(bye));
            }
            Cue::Digit(digit) if up => self.press(digit, out),
            Cue::Vanish(_) => {
                self.vanished = true;
                self.session.drop_all();
                self.down(out);
            }
            _ => {}
        }
    }

    fn hang_up(&mut self, now: Mono, out: &mut Vec<Out>) {
        self.wants_end = true;
        match self.session.stage {
            Stage::Calling => self.cancel_when_possible(now, out),
            // §15: no BYE before the ACK; one who never acknowledges just stops.
            Stage::Up if !self.session.acked && self.plan.ack_after.is_none() => self.down(out),
            Stage::Up if self.session.acked && !self.session.said_bye => {
                self.session.said_bye = true;
                self.session.request(now, "BYE", "", out);
            }
            Stage::Up | Stage::Asked | Stage::Down => {}
        }
    }

    fn cancel_when_possible(&mut self, now: Mono, out: &mut Vec<Out>) {
        if self.wants_end && self.session.stage == Stage::Calling && !self.session.cancelled {
            self.session.cancel(now, out);
        }
    }

    fn down(&mut self, out: &mut Vec<Out>) {
        if self.session.stage != Stage::Down {
            self.session.stage = Stage::Down;
            out.push(Out::At(Duration::from_secs(70), Cue::Forget(self.session.call_id.clone())));
        }
    }

    /// A telephone event: begun once, ended three times (RFC 4733 §2.5.1.4).
    fn press(&mut self, digit: u8, out: &mut Vec<Out>) {
        let Some(to) = self.session.media else { return };
        let event = b"0123456789*#ABCD".iter().position(|key| *key == digit).expect("a key of a telephone") as u8;
        let stamp = u32::from(digit) * 8_000 + self.session.acks.len() as u32;
        for (sequence, end) in [false, true, true, true].into_iter().enumerate() {
            let mut packet = vec![0x80, if sequence == 0 { 0x80 | 101 } else { 101 }, digit, sequence as u8];
            packet.extend(stamp.to_be_bytes());
            packet.extend(7u32.to_be_bytes());
            packet.extend([event, if end { 0x8a } else { 10 }, 3, 32]);
            out.push(Out::Rtp(to, packet));
        }
    }
}
