//! A telephone of the test's own: it does over SIP what the test says, speaks one byte of A-law all the time, and remembers
//! every packet that it hears.

use super::eventually;
use super::sip::Client;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const HEAR_MAX: Duration = Duration::from_secs(20);
const PACKET: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 160;

/// A packet that came.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    pub at: Instant,
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    /// The byte in its middle.
    pub sound: u8,
}

/// A telephone with one line.
pub struct Phone {
    pub client: Client,
    pub sound: u8,
    media: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    dialog: Option<Dialog>,
    invite: String,
    /// Messages of a phone with more lines than one that came while another of them was listened to.
    inbox: Option<Arc<Mutex<Vec<String>>>>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Vec<Heard>>,
    far: Mutex<Option<SocketAddr>>,
    /// All samples of each packet that came.
    sound: Mutex<Vec<(Instant, Vec<i16>)>>,
    /// A tone to speak instead of one byte, in hertz.
    hums: Mutex<Option<f64>>,
    /// Sends nothing.
    mute: AtomicBool,
    over: AtomicBool,
}

struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    sequence: u32,
}

/// The value of a header's first line.
pub fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next().unwrap_or("")
}

fn uri(contact: &str) -> String {
    contact.split('<').nth(1).unwrap_or("").split('>').next().unwrap_or("").into()
}

/// Where the media of a description go.
fn media_of(text: &str) -> Option<SocketAddr> {
    let port = text.split("m=audio ").nth(1)?.split(' ').next()?;
    let host = text.split("c=IN IP4 ").nth(1)?.lines().next()?;
    format!("{host}:{port}").parse().ok()
}

impl Phone {
    pub fn new(engine: SocketAddr, user: &str, domain: &str, sound: u8) -> Phone {
        let client = Client::new(engine, user, domain);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (media, shared) = (socket.local_addr().unwrap(), Arc::new(Shared::default()));
        let of_thread = shared.clone();
        let thread = std::thread::spawn(move || speak(&socket, &of_thread, sound));
        Phone { client, sound, media, shared, thread: Some(thread), dialog: None, invite: String::new(), inbox: None }
    }

    /// One that speaks SIP from this address, as a carrier does.
    pub fn at(ip: &str, engine: SocketAddr, user: &str, sound: u8) -> Phone {
        let mut phone = Phone::new(engine, user, ip, sound);
        let timeout = phone.client.socket.read_timeout().unwrap();
        phone.client.socket = UdpSocket::bind((ip, 0)).unwrap();
        phone.client.socket.set_read_timeout(timeout).unwrap();
        phone
    }

    /// Where it speaks SIP.
    pub fn address(&self) -> SocketAddr {
        self.client.socket.local_addr().unwrap()
    }

    /// The INVITE that it was rung by.
    pub fn invitation(&self) -> &str {
        &self.invite
    }

    /// Speaks a tone from now on.
    pub fn hums(&self, hertz: f64) {
        *self.shared.hums.lock().unwrap() = Some(hertz);
    }

    /// Sends no media from now on, or again.
    pub fn mutes(&self, mute: bool) {
        self.shared.mute.store(mute, Ordering::Relaxed);
    }

    /// All samples of the packets that came between these.
    pub fn ear(&self, from: Instant, to: Instant) -> Vec<i16> {
        let sound = self.shared.sound.lock().unwrap();
        sound.iter().filter(|(at, _)| (from..to).contains(at)).flat_map(|(_, sound)| sound.clone()).collect()
    }

    /// Refuses the call that rings.
    pub fn refuses(&mut self, status: &str) {
        self.respond(status, "");
        self.received("ACK ");
    }

    /// Presses keys, told by INFO.
    pub fn presses(&mut self, keys: &str) {
        for key in keys.chars() {
            self.dialog.as_mut().expect("a dialog").sequence += 1;
            self.send_as("INFO", "application/dtmf-relay", &format!("Signal={key}\r\nDuration=100\r\n"));
            self.received("SIP/2.0 200");
        }
    }

    /// Waits for a packet, after `since`, in which these sounds are heard together and no other.
    pub fn hears_all(&self, sounds: &[u8], since: Instant) -> Heard {
        let sum: i32 = sounds.iter().map(|sound| i32::from(super::wav::alaw(*sound))).sum();
        eventually(&format!("{} hears {sounds:x?} together", self.client.user), HEAR_MAX, || {
            let heard = self.shared.heard.lock().unwrap();
            let near = |it: &&Heard| (i32::from(super::wav::alaw(it.sound)) - sum).abs() <= sum / 16;
            heard.iter().filter(|it| it.at > since).find(near).copied()
        })
    }

    /// The longest time between `from` and `to` in which nothing loud came, silent packets and missing ones alike.
    pub fn longest_silence(&self, from: Instant, to: Instant) -> Duration {
        const LOUD: u16 = 500;
        let heard = self.shared.heard.lock().unwrap();
        let loud =
            heard.iter().filter(|it| (from..to).contains(&it.at) && super::wav::alaw(it.sound).unsigned_abs() > LOUD);
        let times: Vec<Instant> = std::iter::once(from).chain(loud.map(|it| it.at)).chain([to]).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    fn sdp(&self, direction: &str) -> String {
        let (ip, port) = (self.media.ip(), self.media.port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na={direction}\r\n"
        )
    }

    /// Calls and waits until it is connected.
    pub fn dial(&mut self, number: &str) {
        let sdp = self.sdp("sendrecv");
        let invite = self.client.request("INVITE", number, "", &sdp);
        let answer = self.client.answer(invite);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let text = answer.text;
        *self.shared.far.lock().unwrap() = media_of(&text);
        self.dialog = Some(Dialog {
            call_id: header(&text, "Call-ID").into(),
            local: header(&text, "From").into(),
            remote: header(&text, "To").into(),
            target: uri(header(&text, "Contact")),
            sequence: invite,
        });
        self.send("ACK", "");
    }

    /// Calls from another line of the same phone, which speaks this; returns that line, that waits for its answer.
    pub fn dials_beside(&mut self, number: &str, sound: u8) -> Phone {
        let mut line = Phone::new(self.address(), &self.client.user, &self.client.domain, sound);
        line.inbox = Some(self.inbox.get_or_insert_default().clone());
        line.client = self.client.twin();
        let sdp = line.sdp("sendrecv");
        let sequence = line.client.begin_call(number, &sdp);
        let (call_id, local) = (line.client.call_id().to_owned(), String::new());
        line.dialog = Some(Dialog { call_id, local, remote: String::new(), target: String::new(), sequence });
        line
    }

    /// Waits for the answer to what it has dialled.
    pub fn connects(&mut self) {
        let text = self.received("SIP/2.0 200");
        *self.shared.far.lock().unwrap() = media_of(&text);
        let dialog = self.dialog.as_mut().expect("it has dialled");
        (dialog.local, dialog.remote) = (header(&text, "From").into(), header(&text, "To").into());
        dialog.target = uri(header(&text, "Contact"));
        self.send("ACK", "");
    }

    /// Waits for a response to what it has dialled.
    pub fn is_told(&self, status: u16) -> String {
        self.received(&format!("SIP/2.0 {status} "))
    }

    /// Asks that the party of this line be joined with that of the other (RFC 5589 §7); returns the answer.
    pub fn refers_to(&mut self, other: &Phone) -> String {
        let Dialog { call_id, local, remote, target, .. } = other.dialog.as_ref().expect("a dialog");
        let tag = |text: &str| text.split("tag=").nth(1).unwrap_or_default().to_owned();
        let replaces = format!("{call_id};to-tag={};from-tag={}", tag(remote), tag(local));
        let escaped = replaces.replace(';', "%3B").replace('=', "%3D").replace('@', "%40");
        let line = format!("Refer-To: <{target}?Replaces={escaped}>\r\n");
        self.dialog.as_mut().expect("a dialog").sequence += 1;
        self.send_more("REFER", &line, "", "");
        let answer = self.received("SIP/2.0 ");
        assert!(header(&answer, "CSeq").ends_with("REFER"), "{answer}");
        answer
    }

    /// Sends the other side to a number (RFC 5589 §6); returns the answer.
    pub fn refers_to_number(&mut self, number: &str) -> String {
        let line = format!("Refer-To: <sip:{number}@hotline.example>\r\n");
        self.dialog.as_mut().expect("a dialog").sequence += 1;
        self.send_more("REFER", &line, "", "");
        self.received("SIP/2.0 ")
    }

    /// Waits for news of what it referred; returns what they are.
    pub fn is_notified(&mut self) -> String {
        let notify = self.received("NOTIFY ");
        let before = std::mem::replace(&mut self.invite, notify.clone());
        self.respond("200 OK", "");
        self.invite = before;
        notify.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned()
    }

    /// Waits for a call and lets it ring.
    pub fn rings(&mut self) {
        self.invite = self.received("INVITE ");
        self.respond("180 Ringing", "");
    }

    /// Answers the call that rings.
    pub fn answers(&mut self) {
        let sdp = self.sdp("sendrecv");
        *self.shared.far.lock().unwrap() = media_of(&self.invite);
        self.respond("200 OK", &sdp);
        self.received("ACK ");
        self.dialog = Some(Dialog {
            call_id: header(&self.invite, "Call-ID").into(),
            local: format!("{};tag=phone", header(&self.invite, "To")),
            remote: header(&self.invite, "From").into(),
            target: uri(header(&self.invite, "Contact")),
            sequence: 1,
        });
    }

    /// Waits until the call that rings is taken back; what the CANCEL said.
    pub fn is_cancelled(&mut self) -> String {
        let cancel = self.received("CANCEL ");
        let invite = std::mem::replace(&mut self.invite, cancel.clone());
        self.respond("200 OK", "");
        self.invite = invite;
        self.respond("487 Request Terminated", "");
        self.received("ACK ");
        cancel
    }

    /// Describes its media anew, `sendonly` to hold.
    pub fn reoffers(&mut self, direction: &str) {
        let sdp = self.sdp(direction);
        self.dialog.as_mut().expect("a dialog").sequence += 1;
        self.send("INVITE", &sdp);
        let answer = self.received("SIP/2.0 200");
        assert!(header(&answer, "CSeq").ends_with("INVITE"), "{answer}");
        self.send("ACK", "");
    }

    /// Has another address from now on; returns the socket of the old one.
    pub fn moves(&mut self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(self.client.socket.read_timeout().unwrap()).unwrap();
        std::mem::replace(&mut self.client.socket, socket)
    }

    /// Hangs up and has its answer.
    pub fn hangs_up(&mut self) {
        self.dialog.as_mut().expect("a dialog").sequence += 1;
        self.send("BYE", "");
        self.received("SIP/2.0 200");
    }

    /// Waits until the other side hangs up.
    pub fn is_hung_up(&mut self) {
        self.invite = self.received("BYE ");
        self.respond("200 OK", "");
    }

    fn respond(&self, status: &str, body: &str) {
        let (it, local) = (&self.invite, self.client.socket.local_addr().unwrap());
        let to = header(it, "To");
        let tag = if to.contains("tag=") { "" } else { ";tag=phone" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:phone@{local}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            header(it, "Via"),
            header(it, "From"),
            header(it, "Call-ID"),
            header(it, "CSeq"),
            body.len()
        );
        self.client.send(text.as_bytes());
    }

    fn send(&self, method: &str, body: &str) {
        self.send_as(method, "application/sdp", body);
    }

    fn send_as(&self, method: &str, content: &str, body: &str) {
        self.send_more(method, "", content, body);
    }

    fn send_more(&self, method: &str, more: &str, content: &str, body: &str) {
        let Dialog { call_id, local, remote, target, sequence } = self.dialog.as_ref().expect("a dialog");
        let at = self.client.socket.local_addr().unwrap();
        // Lines of one phone have one address.
        let line: String = call_id.chars().filter(char::is_ascii_alphanumeric).collect();
        let kind = if body.is_empty() { String::new() } else { format!("Content-Type: {content}\r\n") };
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{method}{sequence}{line};rport\r\n\
             From: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {sequence} {method}\r\n\
             Contact: <sip:phone@{at}>\r\nMax-Forwards: 70\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.client.send(text.as_bytes());
    }

    /// The next message that begins with `start`; others are passed over, but for those of other lines.
    fn received(&self, start: &str) -> String {
        let id = self.dialog.as_ref().map_or("", |dialog| &dialog.call_id);
        // A phone that has not been in a call yet waits for any.
        let is_ours = |text: &str| id.is_empty() || header(text, "Call-ID") == id;
        let mut buffer = [0; 65_535];
        loop {
            if let Some(inbox) = &self.inbox {
                let mut inbox = inbox.lock().unwrap();
                if let Some(at) = inbox.iter().position(|text| is_ours(text)) {
                    let text = inbox.remove(at);
                    if text.starts_with(start) {
                        return text;
                    }
                    continue;
                }
            }
            let size = self.client.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {start}: {error}"));
            let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
            match &self.inbox {
                Some(inbox) if !is_ours(&text) => inbox.lock().unwrap().push(text),
                Some(_) | None if text.starts_with(start) => return text,
                Some(_) | None => {}
            }
        }
    }

    /// Waits for a packet of `sound` that comes after `since`.
    pub fn hears(&self, sound: u8, since: Instant) -> Heard {
        eventually(&format!("{} hears {sound:#x}", self.client.user), HEAR_MAX, || {
            let heard = self.shared.heard.lock().unwrap();
            heard.iter().find(|it| it.sound == sound && it.at > since).copied()
        })
    }

    /// The first sound of each packet that came after `since`.
    pub fn sounds_since(&self, since: Instant) -> Vec<u8> {
        let heard = self.shared.heard.lock().unwrap();
        heard.iter().filter(|it| it.at > since).map(|it| it.sound).collect()
    }

    /// The last packet that came before `until`.
    pub fn last_before(&self, until: Instant) -> Heard {
        let heard = self.shared.heard.lock().unwrap();
        *heard.iter().rfind(|it| it.at < until).expect("something was heard")
    }

    /// The first packet that came after `since`.
    pub fn first_after(&self, since: Instant) -> Heard {
        eventually(&format!("{} hears anything", self.client.user), HEAR_MAX, || {
            self.shared.heard.lock().unwrap().iter().find(|it| it.at > since).copied()
        })
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Speaks and listens until it is over.
fn speak(socket: &UdpSocket, shared: &Shared, sound: u8) {
    socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    let (mut next, mut sequence, mut timestamp) = (Instant::now(), 0u16, 0u32);
    let mut buffer = [0; 2_048];
    // No other phone of this machine has the same (RFC 3550 §8): one that outlives its engine may speak to this one's.
    let ssrc = u32::from(socket.local_addr().unwrap().port()) << 8 | u32::from(sound);
    while !shared.over.load(Ordering::Relaxed) {
        if let Ok(size) = socket.recv(&mut buffer)
            && size > 12
        {
            let word = |at: usize| u32::from_be_bytes(*buffer[at..].first_chunk().unwrap());
            let (ssrc, sequence, timestamp) = (word(8), word(0) as u16, word(4));
            let sound = buffer[12 + (size - 12) / 2];
            let samples = buffer[12..size].iter().map(|byte| super::wav::alaw(*byte)).collect();
            shared.sound.lock().unwrap().push((Instant::now(), samples));
            shared.heard.lock().unwrap().push(Heard { at: Instant::now(), ssrc, sequence, timestamp, sound });
        }
        if next <= Instant::now() {
            next += PACKET;
            (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(SAMPLES));
            let mut packet = vec![0x80, 8];
            packet.extend(sequence.to_be_bytes());
            packet.extend(timestamp.to_be_bytes());
            packet.extend(ssrc.to_be_bytes());
            match *shared.hums.lock().unwrap() {
                Some(hertz) => packet.extend(super::wav::hum(hertz, timestamp, SAMPLES)),
                None => packet.resize(12 + SAMPLES as usize, sound),
            }
            let far = *shared.far.lock().unwrap();
            let far = far.filter(|_| !shared.mute.load(Ordering::Relaxed));
            far.map(|far| socket.send_to(&packet, far));
        }
    }
}
