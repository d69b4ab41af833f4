//! What a target is told ahead of the voice: before anything that leads to its INVITE, and in that INVITE.

use super::transfer::House;
use super::*;
use crate::base::ContactId;
use crate::base::fact::{TargetKind, TransferMode};
use crate::call::ahead::{Ahead, Key, Link, Links, PATH, Secret, Webhook};
use crate::call::reach::user_to_user;
use crate::call::transfer::{Ask, NotTransferred};

pub(super) fn links() -> Links {
    Links { base: "https://12345.example.cn".into(), valid: Duration::from_secs(60), key: Key([7; 32]) }
}

pub(super) fn webhook() -> Webhook {
    Webhook {
        url: "https://center.example/hook".into(),
        origin: "https://center.example".into(),
        secret: Secret((0..32).collect()),
    }
}

fn begun(house: &mut House, target: &str) -> Vec<Command> {
    let ask = Ask::Start { target: target.into(), mode: TransferMode::Consult, reason: " needs help ".into() };
    house.tell(Event::Transfer { call: house.call, by: None, ask, ticket: 7 })
}

fn told(commands: &[Command]) -> Vec<(usize, Ahead)> {
    let told = commands.iter().enumerate().filter_map(|(place, command)| match command {
        Command::Ahead(ahead) => Some((place, (**ahead).clone())),
        _ => None,
    });
    told.collect()
}

#[test]
fn what_is_told_ahead_goes_before_whatever_leads_to_the_invite() {
    let mut house = House::called("13800138000", About { place: Some("鼓楼区".into()), ..About::default() });
    let began = house.now.after(Duration::from_millis(10));
    let commands = begun(&mut house, "told");
    let told = told(&commands);
    let [(place, ahead)] = &told[..] else { panic!("told once: {told:?}") };
    let leads = |command: &Command| {
        matches!(command, Command::Trunk(_) | Command::OpenPort { .. } | Command::Sip(Sip::Invite(_)))
    };
    let first = commands.iter().position(leads).expect("the target is dialled");
    assert!(*place < first, "told at {place}, dialled from {first}");

    let record = house.record.clone().expect("a record");
    let link = Link { contact: record.contact, number: 1 };
    assert_eq!((ahead.link, &*ahead.target, ahead.kind, ahead.drill), (link, "told", TargetKind::SubCenter, false));
    assert_eq!((&*ahead.reason, &*ahead.agent, ahead.mode), ("needs help", "1001", TransferMode::Consult));
    assert_eq!((&*ahead.caller, ahead.place.as_deref()), (&*record.caller, Some("鼓楼区")));
    assert_eq!((ahead.order, ahead.at), (record.order, record.transfers[0].started));
    assert_eq!(ahead.webhook.as_deref(), Some(&webhook()));
    let url = ahead.url.as_deref().expect("a link");
    let token = url.strip_prefix(&format!("https://12345.example.cn{PATH}")).expect("below the public address");
    assert_eq!(links().read(token, began.wall), Ok(link));

    let invite = house.sent.take().expect("an INVITE");
    let info: Vec<&str> = header(&invite.headers, "Call-Info").collect();
    assert_eq!(info, [format!("<{url}>;purpose=info")]);
    assert_eq!(header(&invite.headers, "User-to-User").count(), 0, "this trunk carries none");
}

fn header<'a>(headers: &'a [(Box<str>, Box<str>)], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(it, _)| **it == *name).map(|(_, value)| &**value)
}

#[test]
fn each_transfer_of_a_contact_has_a_link_of_its_own() {
    let mut house = House::new();
    let first = told(&begun(&mut house, "told"));
    house.ask(Ask::Cancel).unwrap();
    let second = told(&begun(&mut house, "told"));
    assert_eq!((first[0].1.link.number, second[0].1.link.number), (1, 2));
    assert_ne!(first[0].1.url, second[0].1.url);
}

#[test]
fn who_has_neither_webhook_nor_link_or_is_not_dialled_is_told_nothing() {
    let mut house = House::new();
    assert_eq!(told(&begun(&mut house, "social")), []);
    let invite = house.sent.take().expect("an INVITE");
    assert_eq!(header(&invite.headers, "Call-Info").count(), 0);
    // One is under way.
    assert_eq!(told(&begun(&mut house, "told")), []);
    assert_eq!(house.answer, Some(Err(NotTransferred::UnderWay)));
}

#[test]
fn isdn_carries_the_link_if_it_is_short_enough_and_else_the_contact() {
    let contact = ContactId(1);
    let hex = |text: &str| format!("04{};encoding=hex", hex::encode(text));
    assert_eq!(user_to_user(contact, None), hex(&contact.to_string()));
    let (longest, longer) = ("x".repeat(128), "x".repeat(129));
    assert_eq!(user_to_user(contact, Some(&longest)), hex(&longest));
    assert_eq!(user_to_user(contact, Some(&longer)), hex(&contact.to_string()));
}
