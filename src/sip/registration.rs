//! REGISTER (RFC 3261 §10.3): from the message to the [`Registrar`](super::register::Registrar) and back.

use super::dialog::text;
use super::event::{Command, Flow};
use super::message::{Contact, Message};
use super::name::Name;
use super::register::{Asked, Bounds, Change, RegisterError};
use super::screen::host;
use super::server::ServerKey;
use super::ua::{Due, Pass, Ua};
use std::sync::Arc;

/// Contacts with the seconds each asks for.
type Wanted = Vec<(Box<str>, Option<u32>)>;

/// What the Contacts of a REGISTER mean.
enum Contacts {
    None,
    All,
    Some(Wanted),
}

impl Ua {
    /// A REGISTER: authenticated, carried out, answered, told.
    pub(super) fn registering(&mut self, pass: &mut Pass, key: ServerKey, flow: Flow) {
        let (request, settings) = (self.asked(key), Arc::clone(&self.settings));
        let to = request.to().uri;
        let Some(domain) = host(&to).and_then(|host| settings.domain_of(&host)) else {
            // §10.3 step 5: no address-of-record of ours.
            return self.answer(pass, key, 404, |_| {});
        };
        let Some(user) = self.authenticate(pass, key, domain) else {
            return;
        };
        if *user != *to.user_text() {
            // §10.3 step 4: nobody registers for another.
            return self.answer(pass, key, 403, |_| {});
        }
        let (Some(contacts), Some(call_id)) = (contacts(&request), text(request.call_id())) else {
            return self.answer(pass, key, 400, |_| {});
        };
        let wanted: Vec<(&str, Option<u32>)> = match &contacts {
            Contacts::None | Contacts::All => Vec::new(),
            Contacts::Some(wanted) => wanted.iter().map(|(uri, expires_s)| (&**uri, *expires_s)).collect(),
        };
        let change = match contacts {
            Contacts::None => Change::None,
            Contacts::All => Change::RemoveAll,
            Contacts::Some(_) => Change::Contacts(&wanted),
        };
        let path = match path(&request) {
            Ok(path) => path,
            Err(status) => return self.answer(pass, key, status, |_| {}),
        };
        let asked = Asked { call_id: &call_id, cseq: request.cseq().number, change, flow, path: &path };
        let bounds = Bounds { expires_s: settings.expires_s, contacts_max: settings.limits.contacts_max };
        match self.registrar.register(pass.now, &user, domain, &asked, &bounds) {
            Ok(record) => self.registered(pass, key, record, !matches!(change, Change::None)),
            Err(error) => self.answer(pass, key, status(error), |writer| {
                if error == RegisterError::TooBrief {
                    writer.line(Name::MinExpires, format_args!("{}", bounds.expires_s.0));
                }
            }),
        }
    }

    fn registered(&mut self, pass: &mut Pass, key: ServerKey, record: u32, changed: bool) {
        let request = self.asked(key);
        let contacts: Vec<(Box<str>, u64)> = {
            let contacts = self.registrar.contacts(record, pass.now);
            contacts.map(|(binding, left_s)| (binding.uri.clone(), left_s)).collect()
        };
        self.answer(pass, key, 200, |writer| {
            for (uri, left_s) in contacts {
                writer.line(Name::Contact, format_args!("<{uri}>;expires={left_s}"));
            }
            for line in request.lines(Name::Path) {
                writer.header(Name::Path, line);
            }
        });
        if changed {
            self.watch(record);
            pass.out.push(Command::Bindings(self.registrar.bindings(record)));
            self.returned(pass, record);
        }
    }

    /// Sets the timer of a record for its next expiry.
    pub(super) fn watch(&mut self, record: u32) {
        let (next, place) = self.registrar.alarm(record);
        match next {
            Some(at) => self.alarms.set(place, at, Due::Record(record)),
            None => self.alarms.stop(place),
        }
    }

    /// Bindings of a record ran out.
    pub(super) fn record_rang(&mut self, pass: &mut Pass, record: u32) {
        if self.registrar.expire(pass.now, record) {
            pass.out.push(Command::Bindings(self.registrar.bindings(record)));
        }
        self.watch(record);
    }
}

/// `None` when they make no sense: unreadable, or `*` that is not alone or not with `Expires: 0` (§10.3 step 6).
fn contacts(request: &Message) -> Option<Contacts> {
    let expires_s = request.expires_s();
    let mut wanted = Wanted::new();
    let mut all = false;
    for contact in request.contacts() {
        let contact = contact.ok()?;
        match &contact {
            Contact::All => all = true,
            Contact::At(address) => {
                wanted.push((text(address.uri.as_bytes())?, contact.expires_s().or(expires_s)));
            }
        }
    }
    match (all, wanted.is_empty()) {
        (true, true) => (expires_s == Some(0)).then_some(Contacts::All),
        (true, false) => None,
        (false, true) => Some(Contacts::None),
        (false, false) => Some(Contacts::Some(wanted)),
    }
}

/// Hops that a path may have.
const PATH_MAX: usize = 8;

/// The route that calls to the contacts take (RFC 3327 §5.3).
///
/// # Errors
/// 400 when it cannot be read; 421 when the phone says nothing of Path and would not understand what comes of it.
fn path(request: &Message) -> Result<Vec<Box<str>>, u16> {
    let hops: Vec<Box<str>> = request
        .addresses(Name::Path)
        .map(|hop| hop.ok().and_then(|hop| text(hop.uri.as_bytes())).ok_or(400))
        .collect::<Result<_, u16>>()?;
    match hops.len() {
        0 => Ok(hops),
        1..=PATH_MAX if request.lists(Name::Supported, "path") || request.lists(Name::Require, "path") => Ok(hops),
        1..=PATH_MAX => Err(421),
        _ => Err(400),
    }
}

const fn status(error: RegisterError) -> u16 {
    match error {
        RegisterError::TooBrief => 423,
        RegisterError::TooMany => 403,
        RegisterError::OutOfOrder => 500,
        RegisterError::BadContact => 400,
    }
}
