//! The registrar (RFC 3261 §10.3): which phone is reached where.
//!
//! Owns the bindings of this shard's addresses-of-record and copies of those of other shards. Knows nothing of messages
//! and passwords: it is asked only for users who proved themselves or whom another shard vouches for, so its table is
//! bounded by the credentials.

use super::event::{Binding, Bindings, Flow};
use super::timers::Alarm;
use super::uri::Uri;
use crate::base::map::KeyedMap;
use crate::base::{Mono, Now};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Granted when a phone asks for no time of its own (RFC 3261 §10.2: "one hour"), within the configured bounds.
const EXPIRES_S_DEFAULT: u32 = 3_600;

/// What a REGISTER asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its Call-ID: CSeq counts within it.
    pub call_id: &'a str,
    /// Its CSeq number.
    pub cseq: u32,
    /// What is to be done.
    pub change: Change<'a>,
    /// Where it came from and where calls will go (RFC 3581, RFC 5626 §5.3).
    pub flow: Flow,
    /// URIs of Path (RFC 3327 §5.3).
    pub path: &'a [Box<str>],
}

/// What is to be done with the bindings.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// No Contact: only asks.
    None,
    /// `Contact: *` with `Expires: 0`.
    RemoveAll,
    /// Each contact with the seconds it asks for (its own or those of `Expires`); 0 removes it.
    Contacts(&'a [(&'a str, Option<u32>)]),
}

/// Bounds of registration.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Shortest and longest time granted, in seconds.
    pub expires_s: (u32, u32),
    /// Contacts of one address-of-record.
    pub contacts_max: usize,
}

/// Why a REGISTER changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// 423 with Min-Expires.
    #[error("interval too brief")]
    TooBrief,
    /// 403: too many contacts.
    #[error("too many contacts")]
    TooMany,
    /// 500: older than what is registered (RFC 3261 §10.3 step 7).
    #[error("out of order")]
    OutOfOrder,
    /// 400: a contact that is not a SIP URI.
    #[error("contact is not a SIP URI")]
    BadContact,
}

/// The registrar of one shard.
#[derive(Debug)]
pub struct Registrar {
    index: KeyedMap<Box<str>, u32>,
    records: Vec<Record>,
    /// Contacts of all records: counted as they come and go, for it is asked after every message.
    bound: usize,
}

/// One address-of-record.
#[derive(Debug)]
pub struct Record {
    user: Box<str>,
    domain: Box<str>,
    /// Whether its REGISTERs come to this shard: whoever is first told of a binding by a phone owns it.
    ours: bool,
    contacts: Vec<Contact>,
    /// Rings when the next contact runs out.
    pub(super) alarm: Option<Alarm>,
}

#[derive(Clone, Debug)]
struct Contact {
    binding: Binding,
    until: Mono,
    call_id: Box<str>,
    cseq: u32,
}

/// One binding as it outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactSnapshot {
    /// User and domain of the address-of-record.
    pub aor: (Box<str>, Box<str>),
    /// Whether this shard registers it.
    pub ours: bool,
    /// Contact, flow and expiry.
    pub binding: Binding,
    /// Call-ID that registered it.
    pub call_id: Box<str>,
    /// Its last CSeq.
    pub cseq: u32,
}

impl Registrar {
    /// Nobody is registered.
    pub fn new(seed: [u64; 2]) -> Self {
        Registrar { index: KeyedMap::new(seed), records: Vec::new(), bound: 0 }
    }

    /// Carries out a REGISTER, wholly or not at all. Returns the record's number.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing was changed then.
    pub fn register(
        &mut self,
        now: Now,
        user: &str,
        domain: &str,
        asked: &Asked,
        bounds: &Bounds,
    ) -> Result<u32, RegisterError> {
        let at = self.record(user, domain);
        let record = &mut self.records[at as usize];
        let mut contacts = record.contacts.clone();
        contacts.retain(|contact| contact.until > now.mono);
        match asked.change {
            Change::None => return Ok(at),
            Change::RemoveAll => {
                if contacts.iter().any(|contact| contact.is_newer(asked)) {
                    return Err(RegisterError::OutOfOrder);
                }
                contacts.clear();
            }
            Change::Contacts(wanted) => {
                for &(uri, expires_s) in wanted {
                    bind(&mut contacts, now, asked, uri, expires_s, bounds)?;
                }
            }
        }
        if contacts.len() > bounds.contacts_max {
            return Err(RegisterError::TooMany);
        }
        self.bound = self.bound - record.contacts.len() + contacts.len();
        record.contacts = contacts;
        record.ours = true;
        Ok(at)
    }

    /// Takes over what another shard knows of an address-of-record. Returns the record's number.
    pub fn replicate(&mut self, now: Now, bindings: Bindings) -> u32 {
        let at = self.record(&bindings.user, &bindings.domain);
        let record = &mut self.records[at as usize];
        record.ours = false;
        let contact = |binding: Binding| {
            let left_ms = u64::try_from(binding.expires.0.saturating_sub(now.wall.0)).unwrap_or(0);
            Contact { until: now.mono + Duration::from_millis(left_ms), binding, call_id: "".into(), cseq: 0 }
        };
        self.bound = self.bound - record.contacts.len() + bindings.contacts.len();
        record.contacts = bindings.contacts.into_iter().map(contact).collect();
        at
    }

    /// Answers from now on for a record: its changes are ours to tell.
    pub fn own(&mut self, at: u32) {
        self.records[at as usize].ours = true;
    }

    /// Drops what has run out. Returns whether this shard must tell the others.
    pub fn expire(&mut self, now: Now, at: u32) -> bool {
        let record = &mut self.records[at as usize];
        let before = record.contacts.len();
        record.contacts.retain(|contact| contact.until > now.mono);
        self.bound -= before - record.contacts.len();
        record.ours && record.contacts.len() < before
    }

    /// Drops the bindings of a connection that is gone (RFC 5626 §5.3); returns the records of this shard that had some.
    pub fn close(&mut self, flow: Flow) -> Vec<u32> {
        let mut changed = Vec::new();
        for (record, at) in self.records.iter_mut().zip(0..) {
            let before = record.contacts.len();
            record.contacts.retain(|contact| !record.ours || contact.binding.flow != flow);
            if record.contacts.len() < before {
                self.bound -= before - record.contacts.len();
                changed.push(at);
            }
        }
        changed
    }

    /// All live contacts of a record, with the whole seconds left to each.
    pub fn contacts(&self, at: u32, now: Now) -> impl Iterator<Item = (&Binding, u64)> {
        let live = self.records[at as usize].contacts.iter().filter(move |contact| contact.until > now.mono);
        live.map(move |contact| (&contact.binding, contact.until.since(now.mono).as_millis().div_ceil(1_000) as u64))
    }

    /// Whether a phone of this user is reached by this flow.
    pub fn reaches(&self, user: &str, domain: &str, flow: Flow) -> bool {
        let contacts = self.find(user, domain).map(|at| &self.records[at as usize].contacts);
        contacts.is_some_and(|contacts| contacts.iter().any(|contact| contact.binding.flow == flow))
    }

    /// The record of an address-of-record, if it ever had one.
    pub fn find(&self, user: &str, domain: &str) -> Option<u32> {
        self.index.at(&*name(user, domain)).copied()
    }

    /// A record as the other shards want it.
    pub fn bindings(&self, at: u32) -> Bindings {
        let record = &self.records[at as usize];
        let contacts = record.contacts.iter().map(|contact| contact.binding.clone()).collect();
        Bindings { user: record.user.clone(), domain: record.domain.clone(), contacts }
    }

    /// When the next contact of a record runs out, and the place of the timer that waits for it.
    pub(super) fn alarm(&mut self, at: u32) -> (Option<Mono>, &mut Option<Alarm>) {
        let record = &mut self.records[at as usize];
        (record.contacts.iter().map(|contact| contact.until).min(), &mut record.alarm)
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.bound
    }

    /// Panics when contacts were miscounted.
    pub(super) fn check(&self) {
        let bound: usize = self.records.iter().map(|record| record.contacts.len()).sum();
        assert_eq!(self.bound, bound, "bindings are counted");
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bindings, to outlive the process.
    pub fn snapshot(&self) -> Vec<ContactSnapshot> {
        let of_record = |record: &Record| {
            let (aor, ours) = ((record.user.clone(), record.domain.clone()), record.ours);
            let contacts = record.contacts.clone().into_iter();
            contacts.map(move |Contact { binding, call_id, cseq, .. }| ContactSnapshot {
                aor: aor.clone(),
                ours,
                binding,
                call_id,
                cseq,
            })
        };
        self.records.iter().flat_map(of_record).collect()
    }

    /// Puts back one binding. Returns the record's number.
    pub fn restore(&mut self, now: Now, saved: ContactSnapshot) -> u32 {
        let at = self.record(&saved.aor.0, &saved.aor.1);
        let left_ms = u64::try_from(saved.binding.expires.0.saturating_sub(now.wall.0)).unwrap_or(0);
        let until = now.mono + Duration::from_millis(left_ms);
        let record = &mut self.records[at as usize];
        record.ours = saved.ours;
        let ContactSnapshot { binding, call_id, cseq, .. } = saved;
        record.contacts.push(Contact { binding, until, call_id, cseq });
        self.bound += 1;
        at
    }

    fn record(&mut self, user: &str, domain: &str) -> u32 {
        let name = name(user, domain);
        if let Some(at) = self.index.at(&*name) {
            return *at;
        }
        let at = u32::try_from(self.records.len()).expect("fewer than 2^32 users");
        let (user, domain) = (user.into(), domain.into());
        self.records.push(Record { user, domain, ours: false, contacts: Vec::new(), alarm: None });
        self.index.insert(name, at);
        at
    }
}

impl Contact {
    /// Within one Call-ID a lower or equal CSeq is older (RFC 3261 §10.3 step 7).
    fn is_newer(&self, asked: &Asked) -> bool {
        &*self.call_id == asked.call_id && self.cseq >= asked.cseq
    }
}

fn name(user: &str, domain: &str) -> Box<str> {
    format!("{domain} {user}").into()
}

fn same(one: &str, other: &str) -> bool {
    match (Uri::parse(one.as_bytes()), Uri::parse(other.as_bytes())) {
        (Ok(one), Ok(other)) => one.equivalent(&other),
        _ => one == other,
    }
}

/// Adds, refreshes or removes one contact (RFC 3261 §10.3 step 7).
fn bind(
    contacts: &mut Vec<Contact>,
    now: Now,
    asked: &Asked,
    uri: &str,
    expires_s: Option<u32>,
    bounds: &Bounds,
) -> Result<(), RegisterError> {
    let (shortest, longest) = bounds.expires_s;
    if Uri::parse(uri.as_bytes()).map_or(true, |uri| uri.host.is_none()) {
        return Err(RegisterError::BadContact);
    }
    if contacts.iter().any(|contact| same(&contact.binding.uri, uri) && contact.is_newer(asked)) {
        return Err(RegisterError::OutOfOrder);
    }
    let expires_s = expires_s.unwrap_or(EXPIRES_S_DEFAULT.max(shortest)).min(longest);
    if expires_s != 0 && expires_s < shortest {
        return Err(RegisterError::TooBrief);
    }
    contacts.retain(|contact| !same(&contact.binding.uri, uri));
    if expires_s > 0 {
        let lasts = Duration::from_secs(u64::from(expires_s));
        let binding =
            Binding { uri: uri.into(), flow: asked.flow, expires: now.wall + lasts, path: asked.path.to_vec() };
        contacts.push(Contact { binding, until: now.mono + lasts, call_id: asked.call_id.into(), cseq: asked.cseq });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Wall;

    const BOUNDS: Bounds = Bounds { expires_s: (60, 3_600), contacts_max: 2 };
    const ONE: &str = "sip:1001@10.0.0.1:5062";
    const TWO: &str = "sip:1001@10.0.0.2:5062";
    const THREE: &str = "sip:1001@10.0.0.3:5062";

    fn now(ms: u64) -> Now {
        Now { mono: Mono::from_ms(ms), wall: Wall(1_000_000) }.after(Duration::ZERO)
    }

    fn asked<'a>(cseq: u32, change: Change<'a>) -> Asked<'a> {
        let flow = Flow { listener: 0, connection: 0, peer: "192.0.2.1:5062".parse().unwrap() };
        Asked { call_id: "a", cseq, change, flow, path: &[] }
    }

    fn register(
        registrar: &mut Registrar,
        at_ms: u64,
        cseq: u32,
        contacts: &[(&str, Option<u32>)],
    ) -> Result<Vec<(String, u64)>, RegisterError> {
        let asked = asked(cseq, Change::Contacts(contacts));
        let at = registrar.register(now(at_ms), "1001", "a.cn", &asked, &BOUNDS)?;
        let contacts = registrar.contacts(at, now(at_ms));
        Ok(contacts.map(|(binding, left_s)| (binding.uri.to_string(), left_s)).collect())
    }

    #[test]
    fn binds_refreshes_lists_and_removes() {
        let mut registrar = Registrar::new([1, 2]);
        let mut go = |at_ms, cseq, contacts: &[_]| register(&mut registrar, at_ms, cseq, contacts);
        assert_eq!(go(0, 1, &[(ONE, Some(100))]), Ok(vec![(ONE.into(), 100)]));
        assert_eq!(go(10_500, 2, &[(TWO, None)]), Ok(vec![(ONE.into(), 90), (TWO.into(), 3_600)]));
        // The same URI written otherwise.
        let again = "sip:1001@10.0.0.1:5062;x=1";
        assert_eq!(go(20_000, 3, &[(again, Some(9_999))]), Ok(vec![(TWO.into(), 3_591), (again.into(), 3_600)]));
        assert_eq!(go(20_000, 4, &[(ONE, Some(0))]), Ok(vec![(TWO.into(), 3_591)]));
        let at = registrar.register(now(20_000), "1001", "a.cn", &asked(9, Change::RemoveAll), &BOUNDS).unwrap();
        assert_eq!((registrar.contacts(at, now(20_000)).count(), registrar.len()), (0, 0));
    }

    #[test]
    fn refuses_wholly_or_not_at_all() {
        let mut registrar = Registrar::new([1, 2]);
        register(&mut registrar, 0, 5, &[(ONE, None)]).unwrap();
        for (cseq, contacts, error) in [
            (6, &[(TWO, None), (THREE, Some(59))][..], RegisterError::TooBrief),
            (6, &[(TWO, None), (THREE, None)], RegisterError::TooMany),
            (5, &[(TWO, None), (ONE, None)], RegisterError::OutOfOrder),
            (4, &[(ONE, Some(0))], RegisterError::OutOfOrder),
            (6, &[("tel:110", None)], RegisterError::BadContact),
            (6, &[("<>", None)], RegisterError::BadContact),
        ] {
            assert_eq!(register(&mut registrar, 0, cseq, contacts), Err(error));
            assert_eq!(registrar.len(), 1);
        }
        let refused = registrar.register(now(0), "1001", "a.cn", &asked(5, Change::RemoveAll), &BOUNDS);
        assert_eq!(refused, Err(RegisterError::OutOfOrder));
        assert!(registrar.register(now(0), "1001", "a.cn", &asked(1, Change::None), &BOUNDS).is_ok());
    }

    #[test]
    fn contacts_run_out_and_only_their_owner_tells() {
        let mut registrar = Registrar::new([1, 2]);
        register(&mut registrar, 0, 1, &[(ONE, Some(60)), (TWO, Some(90))]).unwrap();
        let at = registrar.find("1001", "a.cn").unwrap();
        assert_eq!(registrar.alarm(at).0, Some(Mono::from_ms(60_000)));
        assert_eq!((registrar.expire(now(59_999), at), registrar.expire(now(60_000), at)), (false, true));
        assert_eq!(registrar.alarm(at).0, Some(Mono::from_ms(90_000)));
        let mut copy = Registrar::new([3, 4]);
        let at = copy.replicate(now(0), registrar.bindings(at));
        assert_eq!((copy.len(), copy.expire(now(100_000), at), copy.len()), (1, false, 0));
        let at = copy.replicate(now(0), registrar.bindings(registrar.find("1001", "a.cn").unwrap()));
        copy.own(at);
        assert!(copy.expire(now(100_000), at), "who answers for it tells");
    }

    #[test]
    fn a_snapshot_brings_back_what_is_left() {
        let mut registrar = Registrar::new([1, 2]);
        register(&mut registrar, 0, 7, &[(ONE, Some(60))]).unwrap();
        let mut restored = Registrar::new([1, 2]);
        let later = Now { mono: Mono::from_ms(5), wall: Wall(1_000_000) }.after(Duration::from_secs(20));
        for saved in registrar.snapshot() {
            restored.restore(later, saved);
        }
        let at = restored.find("1001", "a.cn").unwrap();
        assert_eq!(restored.contacts(at, later).map(|(_, left_s)| left_s).collect::<Vec<_>>(), [40]);
        assert_eq!(restored.snapshot(), registrar.snapshot());
    }
}
