//! Every state × every event of one leg: what follows, and what is said to media and user agent.
//!
//! A state is a dialog beside media: each pair is tried, also those that no call brings about.

use super::{Bytes, CITIZEN, Duration, HOLDING, Mono, Now, OFFER, PHONE, VIDEO, Wall};
use crate::base::fact::{Fact, Party};
use crate::base::{ContactId, SiteId};
use crate::call::event::{Command, SilentStep};
use crate::call::leg::{Dialog, DigitWay, Leg, Whose};
use crate::media::event::{Action as Media, Counters, Marks};
use crate::sdp::Codec;
use crate::sip::event::Action as Sip;

/// Nothing yet (`-`), a Port of which nothing is said, Offered, Agreed by our answer, agreed by theirs and still taken
/// (R), on Hold, Closed.
const MEDIA: &str = "-poarhc";
/// Unanswered, Alive, Ending, Gone.
const DIALOGS: [(char, Dialog); 4] =
    [('U', Dialog::Unanswered), ('A', Dialog::Alive), ('E', Dialog::Ending), ('G', Dialog::Gone)];
const NOW: Now = Now { mono: Mono(9_000_000_000), wall: Wall(9_000) };

const WHOSE: Whose = (ContactId(7), SiteId(0));
const ONE_WAY_MAX: Duration = Duration::from_secs(600);

/// What happens to a leg; what comes back from it at once.
type Event = fn(&mut Leg, &mut Vec<Command>) -> &'static str;

/// An event, and for legs whose dialogs are these the cells of all media: the media that follow, and what is said. `.` for
/// nothing at all, `=` where the media stay. Why nothing may come of an event:
/// - without a port there is no session to describe, and nothing to close;
/// - an answer is taken only while an offer of ours stands; what cannot be spoken changes nothing;
/// - what is agreed already is not told to the media again; a closed leg tells them nothing;
/// - only an established dialog can be asked anything, and given up when it does not answer.
type Row = (&'static str, Event, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const TABLE: [Row; 16] = [
    ("the port is bound",   open,                                      &[("UAEG", "p:open  =open   p:open  =open   a:open  =open   a:open")]),
    ("we offer",            |leg, _| said(leg.offer(None).is_some()),  &[("UAEG", "=no     o:yes   =yes    r:yes   =yes    =yes    =yes")]),
    ("they offer",          |leg, out| answer(leg, OFFER, out),        &[("UAEG", "=500    a:yes,connect a:yes,connect =yes a:yes,connect a:yes,connect =yes")]),
    ("they hold",           |leg, out| answer(leg, HOLDING, out),      &[("UAEG", "=500    h:yes,connect h:yes,connect h:yes,connect h:yes,connect =yes =yes")]),
    ("they offer nonsense", |leg, out| answer(leg, VIDEO, out),        &[("UAEG", "=500    =488    =488    =488    =488    =488    =488")]),
    ("they answer",         |leg, out| said(leg.accept(PHONE, out)),   &[("UAEG", "=no     =no     r:yes,connect =no =yes  =no     =no")]),
    ("they answer nonsense", |leg, out| said(leg.accept(VIDEO, out)),  &[("UAEG", "=no     =no     =no     =no     =no     =no     =no")]),
    ("the session is refreshed", refresh,                              &[("A",    ".       o:ask   =ask    r:ask   =ask    =ask    =ask"),
                                                                         ("UEG",  ".       .       .       .       .       .       .")]),
    ("silence of 10 s",     |leg, out| quiet(leg, 10, out),            &[("A",    "=no     o:no,warn,probe =no,warn,probe r:no,warn,probe =no,warn,probe =no,warn,probe =no,warn,probe"),
                                                                         ("UEG",  "=no     =no     =no     =no     =no     =no     =no")]),
    ("silence goes on",     |leg, out| { quiet(leg, 10, &mut Vec::new()); quiet(leg, 20, out) },
                                                                       &[("A",    "=no     o:no    =no     r:no    =no     =no     =no"),
                                                                         ("UEG",  "=no     =no     =no     =no     =no     =no     =no")]),
    ("silence of 30 s",     |leg, out| { quiet(leg, 10, &mut Vec::new()); quiet(leg, 30, out) },
                                                                       &[("A",    "=no     o:yes,warn =yes,warn r:yes,warn =yes,warn =yes,warn =yes,warn"),
                                                                         ("UEG",  "=no     =no     =no     =no     =no     =no     =no")]),
    ("our question is answered", |leg, out| { leg.reoffered(Ok(Bytes::from_static(PHONE)), WHOSE, out); "" },
                                                                       &[("UAEG", ".       .       r:connect .     .       .       .")]),
    ("our question is refused", |leg, out| { leg.reoffered(Err(488), WHOSE, out); "" }, &[("UAEG", ". . . . . . .")]),
    ("we hang up",          |leg, out| { leg.hang_up(16, out); "" },   &[("UA",   "=E:bye  c:E:bye,close c:E:bye,close c:E:bye,close c:E:bye,close c:E:bye,close =E:bye"),
                                                                         ("EG",   ".       c:close c:close c:close c:close c:close .")]),
    ("the port is closed",  |leg, out| { leg.close(out); "" },         &[("UAEG", ".       c:close c:close c:close c:close c:close .")]),
    ("after a crash",       reopen,                                    &[("UAEG", "=no     =yes,rebind,reopen =yes,rebind,reopen =yes,rebind,reopen =yes,rebind,reopen =yes,rebind,reopen =no")]),
];

fn said(something: bool) -> &'static str {
    if something { "yes" } else { "no" }
}

fn open(leg: &mut Leg, out: &mut Vec<Command>) -> &'static str {
    leg.open(NOW, "192.0.2.100:10000".parse().unwrap(), 7, out);
    ""
}

fn answer(leg: &mut Leg, offer: &[u8], out: &mut Vec<Command>) -> &'static str {
    match leg.answer(offer, out) {
        Ok(_) => "yes",
        Err(488) => "488",
        Err(500) => "500",
        Err(other) => panic!("{other}"),
    }
}

fn refresh(leg: &mut Leg, out: &mut Vec<Command>) -> &'static str {
    leg.refresh(out);
    ""
}

fn quiet(leg: &mut Leg, silent_s: u64, out: &mut Vec<Command>) -> &'static str {
    let silent = Duration::from_secs(silent_s);
    said(leg.quiet(NOW.mono + silent, (silent, ONE_WAY_MAX), WHOSE, out))
}

fn reopen(leg: &mut Leg, out: &mut Vec<Command>) -> &'static str {
    let opened = leg.reopen(None, &Marks::new(), out);
    assert!(opened.is_none_or(|opened| opened == NOW), "it was opened when it was");
    said(opened.is_some())
}

/// A leg with this dialog and these media.
fn reach(dialog: Dialog, media: char) -> Leg {
    let mut leg = Leg::new(CITIZEN, dialog, Party::Citizen { trunk: "".into() });
    let out = &mut Vec::new();
    match media {
        '-' => {}
        'p' => _ = open(&mut leg, out),
        'o' => {
            open(&mut leg, out);
            assert!(leg.offer(Some(Codec::Pcmu)).is_some());
        }
        'a' | 'c' => {
            open(&mut leg, out);
            assert_eq!(answer(&mut leg, OFFER, out), "yes");
        }
        'r' => {
            open(&mut leg, out);
            assert!(leg.offer(None).is_some() && leg.accept(PHONE, out));
        }
        'h' => {
            open(&mut leg, out);
            assert_eq!(answer(&mut leg, HOLDING, out), "yes");
        }
        other => panic!("no media {other}"),
    }
    if media == 'c' {
        leg.close(out);
    }
    assert_eq!((leg.dialog, letter(&leg)), (dialog, media));
    leg
}

/// The media as one letter.
fn letter(leg: &Leg) -> char {
    // An answer is tried on a copy.
    let takes = leg.clone().accept(PHONE, &mut Vec::new());
    match (leg.has_port(), leg.codec(), leg.on_hold()) {
        (false, ..) => {
            let described = leg.clone().offer(None).is_some();
            if described { 'c' } else { '-' }
        }
        (true, Some(_), true) => 'h',
        (true, Some(_), false) => {
            if takes {
                'r'
            } else {
                'a'
            }
        }
        (true, None, _) => {
            if takes {
                'o'
            } else {
                'p'
            }
        }
    }
}

fn word(command: &Command) -> &'static str {
    match command {
        Command::Media(Media::Open { .. }) => "open",
        Command::Media(Media::Reopen { .. }) => "reopen",
        Command::Media(Media::Connect { .. }) => "connect",
        Command::Media(Media::Close { .. }) => "close",
        Command::Sip(Sip::Reinvite { .. }) => "ask",
        Command::Sip(Sip::HangUp { .. }) => "bye",
        Command::Sip(Sip::Probe { .. }) => "probe",
        Command::Silent(_) => "warn",
        Command::ReopenPort { .. } => "rebind",
        other => panic!("a leg says nothing like {other:?}"),
    }
}

/// What followed, as a cell of the table.
fn cell(before: (Dialog, char), leg: &Leg, returned: &'static str, out: &[Command]) -> String {
    let media = letter(leg);
    let words: Vec<&str> =
        std::iter::once(returned).filter(|word| !word.is_empty()).chain(out.iter().map(word)).collect();
    let dialog = DIALOGS.into_iter().find(|(_, dialog)| *dialog == leg.dialog).expect("a dialog").0;
    let stays = if media == before.1 { '='.to_string() } else { format!("{media}:") };
    let ends = if leg.dialog == before.0 { String::new() } else { format!("{dialog}:") };
    format!("{stays}{ends}{}", words.join(","))
}

#[test]
fn every_state_moves_or_stays_as_the_table_says() {
    let mut wrong = Vec::new();
    for (name, event, rows) in TABLE {
        let listed: String = rows.iter().map(|(dialogs, _)| *dialogs).collect();
        assert_eq!(listed.len(), DIALOGS.len(), "{name}: every dialog has its row");
        for (dialogs, cells) in rows {
            let cells: Vec<&str> = cells.split_whitespace().collect();
            assert_eq!(cells.len(), MEDIA.len(), "{name}: every media have their cell");
            for (letter, dialog) in DIALOGS.into_iter().filter(|(letter, _)| dialogs.contains(*letter)) {
                for (media, expected) in MEDIA.chars().zip(&cells) {
                    let (mut leg, mut out) = (reach(dialog, media), Vec::new());
                    let returned = event(&mut leg, &mut out);
                    let found = cell((dialog, media), &leg, returned, &out);
                    let expected = if *expected == "." { "=" } else { expected };
                    if found != expected {
                        wrong.push(format!("{name} in {letter}{media}: {found}, not {expected}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a silent leg answers, and the silence at which it is given up: whoever does not answer, or has no such dialog, at
/// 30 s and never before; whoever is there at the limit, asked again every minute.
#[test]
fn a_silent_leg_is_given_up_when_it_is_gone_and_kept_while_it_stands() {
    type Answer = Option<Result<Bytes, u16>>;
    let cases: [(Answer, u64, usize); 7] = [
        (None, 30, 1),
        (Some(Err(481)), 30, 1),
        (Some(Err(408)), 30, 1),
        (Some(Err(488)), 600, 10),
        (Some(Err(500)), 600, 10),
        (Some(Ok(Bytes::from_static(PHONE))), 600, 10),
        (Some(Ok(Bytes::from_static(VIDEO))), 600, 10),
    ];
    for (answer, expected, questions) in cases {
        let (mut leg, mut asked, mut warned) = (reach(Dialog::Alive, 'r'), 0, Vec::new());
        let given_up = (1..=70).map(|tens| tens * 10).find(|silent_s| {
            let mut out = Vec::new();
            let ended = quiet(&mut leg, *silent_s, &mut out) == "yes";
            if let Some(answer) = answer.clone().filter(|_| out.iter().any(|it| word(it) == "probe")) {
                leg.reoffered(answer, WHOSE, &mut out);
            }
            asked += out.iter().filter(|it| word(it) == "probe").count();
            warned.extend(out.iter().filter_map(|it| if let Command::Silent(it) = it { Some(it.step) } else { None }));
            ended
        });
        assert_eq!((given_up, asked), (Some(expected), questions), "{answer:?}");
        let stands = (expected > 30).then_some(SilentStep::OneWay);
        let steps: Vec<_> =
            [Some(SilentStep::Asked), stands, Some(SilentStep::GivenUp)].into_iter().flatten().collect();
        assert_eq!(warned, steps, "{answer:?}");
    }
}

/// Sound that comes again, and media that are described anew, begin everything anew, but for what is remembered.
#[test]
fn a_leg_that_is_heard_again_is_asked_again() {
    let mut leg = reach(Dialog::Alive, 'r');
    let again: [fn(&mut Leg, &mut Vec<Command>); 3] =
        [|leg, _| leg.heard(), |leg, out| _ = answer(leg, OFFER, out), |leg, _| leg.resume()];
    for again in again {
        let mut out = Vec::new();
        assert_eq!(quiet(&mut leg, 10, &mut out), "no");
        assert!(out.iter().any(|it| word(it) == "probe"), "{out:?}");
        leg.reoffered(Err(481), WHOSE, &mut out);
        again(&mut leg, &mut out);
    }
    let mut out = Vec::new();
    assert_eq!(quiet(&mut leg, 40, &mut out), "no", "it was not asked in this silence");
    leg.reoffered(Err(488), WHOSE, &mut out);
    leg.heard();
    leg.close(&mut out);
    let clock = crate::call::record::Clock::of(NOW);
    let told = leg.closed(NOW, &Counters { received: 5, ..Counters::default() }, (ContactId(7), clock));
    assert!(matches!(told, Some(Fact::Leg(leg)) if leg.one_way), "it was silent and there");
}

/// Digits count by the way of the first, whatever else the leg does.
#[test]
fn a_digit_that_comes_in_two_ways_counts_once() {
    for (_, dialog) in DIALOGS {
        for media in MEDIA.chars() {
            for (first, other) in [(DigitWay::Event, DigitWay::Info), (DigitWay::Info, DigitWay::Event)] {
                let mut leg = reach(dialog, media);
                assert_eq!([first, other, first, other].map(|way| leg.hears(way)), [true, false, true, false]);
                assert_eq!((leg.dialog, letter(&leg)), (dialog, media));
            }
        }
    }
}
