//! Session timers (RFC 4028): how long a session lasts without a refresh, who refreshes it, and what happens when nobody
//! does.
//!
//! Owns the arithmetic and the timers of a leg. The refresh itself is an UPDATE where the other side takes one, else a
//! re-INVITE that the call is asked for.

use super::client::{Purpose, Reason};
use super::event::{Ending, Notice, SessionTimers};
use super::leg::{LegKey, LegTimer, State};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::ua::{Pass, Ua};
use super::write::Writer;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Who does not refresh says BYE so long before the end at most (§10).
const BYE_BEFORE_MAX: Duration = Duration::from_secs(32);
/// No interval is shorter (§4).
const MIN_SE_LEAST: u32 = 90;
/// A refresh that failed for the moment is tried again after so long, until the session's end.
const REFRESH_AGAIN: Duration = Duration::from_secs(10);

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTimer {
    /// Seconds from one refresh to the session's end.
    pub expires_s: u32,
    /// Least seconds that either side accepts.
    pub min_se_s: u32,
    /// Whether we refresh.
    pub ours: bool,
}

/// 422: the interval is below ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooSmall {
    pub(super) min_se_s: u32,
}

impl SessionTimers {
    fn min_se(&self) -> u32 {
        self.min_se_s.max(MIN_SE_LEAST)
    }

    /// What we ask for in a request; `None` when we ask for nothing.
    fn wanted(&self) -> Option<u32> {
        (self.expires_s > 0).then(|| self.expires_s.max(self.min_se()))
    }
}

/// What a 2xx to this request will say (§9); `None` is no session timer. `before` is what the session runs under.
///
/// # Errors
/// [`TooSmall`] when the request must be refused with 422.
pub(super) fn answered(
    request: &Message,
    settings: &SessionTimers,
    before: Option<SessionTimer>,
) -> Result<Option<SessionTimer>, TooSmall> {
    let knows = knows_timer(request);
    let asked = request.number(Name::SessionExpires);
    // Only who knows the extension understands a 422 (§9).
    if let Some(_small) = asked.filter(|asked| *asked < settings.min_se() && knows) {
        return Err(TooSmall { min_se_s: settings.min_se() });
    }
    let least = request.number(Name::MinSe).unwrap_or(0).max(settings.min_se());
    let expires_s = match (asked, settings.wanted()) {
        // Never longer than asked for, never below what the path accepts.
        (Some(asked), Some(ours)) => asked.min(ours.max(least)),
        (Some(asked), None) => asked,
        (None, Some(ours)) => ours.max(least),
        (None, None) => return Ok(None),
    };
    let named = request.params(Name::SessionExpires).value("refresher");
    let ours = match named {
        // Table 2: who does not know the extension cannot refresh.
        _ if !knows => true,
        Some(named) if named.eq_ignore_ascii_case(b"uas") => true,
        Some(named) if named.eq_ignore_ascii_case(b"uac") => false,
        Some(_) | None => before.is_some_and(|before| before.ours),
    };
    Ok(Some(SessionTimer { expires_s, min_se_s: least, ours }))
}

/// What a 2xx to our request agrees to (§7.2); without Session-Expires the session has no end.
pub(super) fn agreed(response: &Message, min_se_s: u32) -> Option<SessionTimer> {
    let expires_s = response.number(Name::SessionExpires)?.max(MIN_SE_LEAST);
    let refresher = response.params(Name::SessionExpires).value("refresher");
    let ours = refresher.is_none_or(|refresher| !refresher.eq_ignore_ascii_case(b"uas"));
    Some(SessionTimer { expires_s, min_se_s: min_se_s.max(MIN_SE_LEAST), ours })
}

fn knows_timer(message: &Message) -> bool {
    message.lists(Name::Supported, "timer") || message.lists(Name::Require, "timer")
}

/// Session-Expires and Require of a 2xx (§9).
pub(super) fn write_answer(writer: &mut Writer, request: &Message, timer: SessionTimer) {
    let refresher = if timer.ours { "uas" } else { "uac" };
    if knows_timer(request) {
        writer.header(Name::Require, "timer");
    }
    writer.line(Name::SessionExpires, format_args!("{};refresher={refresher}", timer.expires_s));
}

/// Session-Expires of a request in a session that runs under `timer` (§7.4), else of one that begins.
pub(super) fn write_request(writer: &mut Writer, settings: &SessionTimers, timer: Option<SessionTimer>) {
    match timer {
        Some(SessionTimer { expires_s, min_se_s, ours }) => {
            let refresher = if ours { "uac" } else { "uas" };
            writer.line(Name::SessionExpires, format_args!("{expires_s};refresher={refresher}"));
            if min_se_s > MIN_SE_LEAST {
                writer.line(Name::MinSe, format_args!("{min_se_s}"));
            }
        }
        None => {
            if let Some(expires_s) = settings.wanted() {
                writer.line(Name::SessionExpires, format_args!("{expires_s}"));
            }
        }
    }
}

impl SessionTimer {
    fn lasts(self) -> Duration {
        Duration::from_secs(u64::from(self.expires_s))
    }

    /// From one refresh of ours to the next (§10).
    fn refresh_after(self) -> Duration {
        self.lasts() / 2
    }

    /// From a refresh to our BYE when no other came (§10).
    fn bye_after(self) -> Duration {
        self.lasts() - BYE_BEFORE_MAX.min(self.lasts() / 3)
    }
}

impl Ua {
    /// A session begins or was refreshed: its time runs anew.
    pub(super) fn wind(&mut self, pass: &Pass, key: LegKey, timer: Option<SessionTimer>) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.session = timer;
        match timer {
            Some(timer) => {
                self.set(key, LegTimer::Expiry, pass.now.mono + timer.bye_after());
                if timer.ours {
                    self.set(key, LegTimer::Refresh, pass.now.mono + timer.refresh_after());
                } else {
                    self.stop(key, LegTimer::Refresh);
                }
            }
            None => {
                self.stop(key, LegTimer::Expiry);
                self.stop(key, LegTimer::Refresh);
            }
        }
    }

    /// Our turn to refresh.
    pub(super) fn refresh_rang(&mut self, pass: &mut Pass, key: LegKey) {
        let leg = &mut self.legs[key];
        let id = leg.id;
        match &leg.state {
            State::Established { .. } if leg.updates => self.send_update(pass, key),
            State::Established { .. } => pass.tell(Notice::Refresh { leg: id }),
            // Not acknowledged yet; the answer's own time is shorter than any interval.
            State::Offered(_) | State::Answered { .. } | State::Calling(_) | State::Ending { .. } => {}
        }
    }

    /// Nobody refreshed the session.
    pub(super) fn expiry_rang(&mut self, pass: &mut Pass, key: LegKey) {
        match &self.legs[key].state {
            State::Established { .. } => self.bye(pass, key, Ending::Lost, Reason::Q850(super::session::TIMER_EXPIRED)),
            State::Offered(_) | State::Answered { .. } | State::Calling(_) | State::Ending { .. } => {}
        }
    }

    /// An UPDATE that refreshes the session and changes nothing (§7.4).
    fn send_update(&mut self, pass: &mut Pass, key: LegKey) {
        let timer = self.legs[key].session;
        let Some(dialog) = self.legs[key].dialog_mut() else { return };
        dialog.local_cseq += 1;
        let dialog = dialog.clone();
        let branch = self.marks.branch();
        let mut writer = dialog.request(Method::Update, dialog.local_cseq, &self.settings, &branch);
        self.contact(&mut writer, dialog.flow, dialog.is_secure());
        super::screen::abilities(&mut writer);
        write_request(&mut writer, &self.settings.session, timer);
        let flow = dialog.next_flow(&self.settings);
        let method = (Method::Update, &*branch);
        self.open(pass, flow, method, writer.finish(), Purpose::Update(key));
    }

    /// A response to our UPDATE, or none in time.
    pub(super) fn update_told(&mut self, pass: &mut Pass, key: LegKey, response: Option<&Message>) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        if !matches!(leg.state, State::Established { .. }) {
            return;
        }
        let status = response.and_then(Message::status).unwrap_or(408);
        match (status, response) {
            (100..=199, _) => {}
            (200..=299, Some(response)) => {
                leg.learn(response);
                let least = leg.session.map_or(0, |timer| timer.min_se_s);
                if let Some(dialog) = leg.dialog_mut() {
                    dialog.refresh(response);
                }
                self.wind(pass, key, agreed(response, least));
            }
            // RFC 3261 §12.2.1.2: the other side knows nothing of us any more.
            (408 | 481, _) => self.bye(pass, key, Ending::Lost, Reason::None),
            // It takes no UPDATE after all.
            (405 | 501, _) => {
                let id = leg.id;
                leg.updates = false;
                pass.tell(Notice::Refresh { leg: id });
            }
            _ => self.set(key, LegTimer::Refresh, pass.now.mono + REFRESH_AGAIN),
        }
    }

    /// The interval was too small for somebody on the way (§7.2): what to ask for instead.
    pub(super) fn longer(&mut self, key: LegKey, response: &Message) -> Option<SessionTimer> {
        let leg = self.legs.get_mut(key)?;
        let min_se_s = response.number(Name::MinSe)?.max(MIN_SE_LEAST);
        let expires_s = self.settings.session.wanted().unwrap_or(0).max(min_se_s);
        let ours = leg.session.is_none_or(|timer| timer.ours);
        let longer = SessionTimer { expires_s, min_se_s, ours };
        // What runs now is still what was agreed on last; the next request asks for more.
        if let Some(timer) = &mut leg.session {
            (timer.expires_s, timer.min_se_s) = (expires_s.max(timer.expires_s), min_se_s.max(timer.min_se_s));
        }
        Some(longer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(more: &str) -> Message {
        let text = format!(
            "INVITE sip:1@a SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\nFrom: <sip:1@a>;tag=f\r\n\
             To: <sip:2@b>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n{more}\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    /// RFC 4028 §9, table 2, and the bounds of §4 and §5.
    #[test]
    fn a_request_is_answered_as_table_2_says() {
        const ON: SessionTimers = SessionTimers { expires_s: 1_800, min_se_s: 90 };
        const OFF: SessionTimers = SessionTimers { expires_s: 0, min_se_s: 90 };
        let before = |ours| Some(SessionTimer { expires_s: 900, min_se_s: 90, ours });
        let cases = [
            // Nothing asked for, nothing known: we refresh, if we want a timer at all.
            ("", ON, None, Some((1_800, true))),
            ("", OFF, None, None),
            ("Supported: timer\r\n", ON, None, Some((1_800, false))),
            ("k: timer\r\nMin-SE: 3600\r\n", ON, None, Some((3_600, false))),
            ("Supported: timer\r\nx: 600;refresher=uas\r\n", ON, None, Some((600, true))),
            ("Supported: timer\r\nx: 600;refresher=UAC\r\n", ON, None, Some((600, false))),
            ("Supported: timer\r\nSession-Expires: 7200\r\n", ON, None, Some((1_800, false))),
            ("Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600\r\n", ON, None, Some((3_600, false))),
            ("Require: timer\r\nSession-Expires: 7200\r\n", OFF, None, Some((7_200, false))),
            // A proxy asked for a caller who knows nothing of it.
            ("Session-Expires: 600\r\n", ON, None, Some((600, true))),
            ("Session-Expires: 60;refresher=uac\r\n", ON, None, Some((60, true))),
            // Roles stay when a refresh does not name them.
            ("Supported: timer\r\nSession-Expires: 600\r\n", ON, before(true), Some((600, true))),
            ("Supported: timer\r\nSession-Expires: 600\r\n", ON, before(false), Some((600, false))),
        ];
        for (more, settings, before, expected) in cases {
            let found = answered(&request(more), &settings, before).expect(more);
            assert_eq!(found.map(|timer| (timer.expires_s, timer.ours)), expected, "{more}");
        }
        let small = answered(&request("Supported: timer\r\nSession-Expires: 60\r\n"), &ON, None);
        assert_eq!(small, Err(TooSmall { min_se_s: 90 }));
    }

    #[test]
    fn refreshes_and_ends_stand_where_section_10_puts_them() {
        for (expires_s, refresh_s, bye_s) in [(90, 45, 60), (96, 48, 64), (1_800, 900, 1_768)] {
            let timer = SessionTimer { expires_s, min_se_s: 90, ours: true };
            assert_eq!(timer.refresh_after().as_secs(), refresh_s);
            assert_eq!(timer.bye_after().as_secs(), bye_s);
        }
    }
}
