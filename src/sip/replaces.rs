//! Replaces (RFC 3891) and Join (RFC 3911): naming a dialog of ours from outside it.
//!
//! Reads the headers and finds the leg; only its own far side may have it replaced. Joining is not done here.

use super::event::Source;
use super::leg::{LegKey, State};
use super::lex;
use super::message::Message;
use super::name::Name;
use super::params::Params;
use super::ua::Ua;
use super::uri::Uri;
use crate::base::LegId;

/// The dialog that a Replaces or Join header names, as its receiver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    call_id: &'a [u8],
    /// The receiver's own tag.
    pub(super) to_tag: &'a [u8],
    from_tag: &'a [u8],
    early_only: bool,
}

impl<'a> Named<'a> {
    /// Reads a value; `None` when one of its three parts is missing (RFC 3891 §6.1).
    pub(super) fn parse(value: &'a [u8]) -> Option<Named<'a>> {
        let (call_id, params) = lex::split_once(value, b';')?;
        let params = Params::new(params);
        let one = |name| {
            let mut values = params.values(name);
            values.next().filter(|value| !value.is_empty() && values.next().is_none())
        };
        let call_id = call_id.trim_ascii();
        let early_only = params.has("early-only");
        (!call_id.is_empty()).then_some(Named {
            call_id,
            to_tag: one("to-tag")?,
            from_tag: one("from-tag")?,
            early_only,
        })
    }
}

impl Ua {
    /// The leg that an INVITE is to replace, if any.
    ///
    /// # Errors
    /// The status to refuse it with (RFC 3891 §3).
    pub(super) fn replaced(&self, request: &Message, source: &Source) -> Result<Option<LegId>, u16> {
        let mut lines = request.lines(Name::Replaces);
        let Some(value) = lines.next() else { return Ok(None) };
        if lines.next().is_some() || request.header(Name::Join).is_some() {
            return Err(400);
        }
        let named = Named::parse(value).ok_or(400u16)?;
        let key = self.leg_named(&named).ok_or(481u16)?;
        if !self.is_of(key, source) {
            return Err(403);
        }
        match &self.legs[key].state {
            State::Established { .. } | State::Answered { .. } if named.early_only => Err(486),
            State::Established { .. } | State::Answered { .. } | State::Calling(_) => Ok(Some(self.legs[key].id)),
            // Only whom we rang can be replaced before answering.
            State::Offered(_) => Err(481),
            State::Ending { .. } => Err(603),
        }
    }

    /// The leg that a header names.
    pub(super) fn leg_named(&self, named: &Named<'_>) -> Option<LegKey> {
        let key = *self.by_tag.at(named.to_tag)?;
        let owns = |dialog: &super::dialog::Dialog| {
            let tag = dialog.remote.tag.as_bytes();
            // A peer of RFC 2543 had no tag, which is written as 0 (RFC 3891 §3).
            let same = tag == named.from_tag || (tag.is_empty() && named.from_tag == b"0");
            same && dialog.call_id.as_bytes() == named.call_id
        };
        let leg = &self.legs[key];
        let found = match &leg.state {
            State::Calling(calling) => calling.early.iter().any(|early| owns(&early.dialog)),
            State::Offered(_) | State::Answered { .. } | State::Established { .. } | State::Ending { .. } => {
                leg.dialog().is_some_and(owns)
            }
        };
        found.then_some(key)
    }

    /// Whether the far side of a leg is this source: the same user, or the same trunk (RFC 3891 §8).
    fn is_of(&self, key: LegKey, source: &Source) -> bool {
        let leg = &self.legs[key];
        let early = match &leg.state {
            State::Calling(calling) => calling.early.first().map(|early| &early.dialog),
            State::Offered(_) | State::Answered { .. } | State::Established { .. } | State::Ending { .. } => None,
        };
        let Some(dialog) = leg.dialog().or(early) else { return false };
        match source {
            Source::Trunk(name) => {
                self.settings.trunk_of(dialog.flow.peer.ip()).is_some_and(|trunk| trunk.name == *name)
            }
            // Whom a trunk says it speaks for proves nothing.
            Source::Phone { .. } if dialog.trunk => false,
            Source::Phone { user, domain } => Uri::parse(dialog.remote.uri.as_bytes()).is_ok_and(|uri| {
                let host = super::screen::host(&uri);
                let home = host.and_then(|host| self.settings.domain_of(&host).map(str::to_owned));
                *uri.user_text() == **user && home.as_deref() == Some(&**domain)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_three_parts_once_each() {
        let named = Named::parse(b" 98732@sip.example.com ; from-tag=r33th4x0r ;to-tag=ff87ff;early-only").unwrap();
        assert_eq!((named.call_id, named.to_tag), (&b"98732@sip.example.com"[..], &b"ff87ff"[..]));
        assert_eq!((named.from_tag, named.early_only), (&b"r33th4x0r"[..], true));
        for broken in
            ["", "c", "c;to-tag=a", "c;to-tag=a;from-tag=", "c;to-tag=a;from-tag=b;to-tag=c", ";to-tag=a;from-tag=b"]
        {
            assert_eq!(Named::parse(broken.as_bytes()), None, "{broken}");
        }
    }
}
