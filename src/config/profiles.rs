//! What `sip-profiles/trunks/*.toml` says beside the networks a trunk sends from: where calls go, limits, health,
//! numbers, wording.
//!
//! Passwords come from a file or the environment and are never shown.

use super::listeners::{Listener, Transport};
use super::schema::{self, TrunkTransport};
use super::source::Check;
use crate::sdp::Codec;
use crate::sip::event::Login;
use crate::sip::uri::Uri;
use crate::trunk::event::{Limits, Profile, Remote, Watch, Wording};
use crate::trunk::rules::NumberRules;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

/// No limit of a trunk's own: the node's are far below.
const UNLIMITED: u64 = 100_000;
/// Statuses with which calls beyond the limits may be refused.
const FULL: [u64; 4] = [486, 480, 600, 503];

const REMOTE_CURE: &str =
    "write \"192.0.2.1:5060\", \"[2001:db8::1]:5060\", \"sip.example.cn\" or \"sip.example.cn:5060\"";

/// One trunk's profile. `sources` are the networks it sends from.
pub(super) fn profile(
    check: &mut Check<'_>,
    (root, name): (&Path, &str),
    raw: &schema::Trunk,
    listeners: &[Listener],
    sources: &[IpNet],
) -> Profile {
    let remote = remote(check, raw, listeners, sources);
    let login = raw.account.as_ref().and_then(|account| login(check, root, account));
    let registers = raw.account.as_ref().and_then(|account| account.get_ref().register_s.as_ref());
    let register = registers.map(|seconds| check.seconds(Some(seconds), 600, 30..=86_400));
    for (needs, what) in [(registers, "register_s"), (raw.priority.as_ref(), "priority")] {
        if let (Some(key), None) = (needs, &raw.remote) {
            check.wrong(&key.span(), format!("`{what}` without `remote`"), "add remote = \"ADDRESS:PORT\"");
        }
    }
    let inbound = raw.inbound.as_ref();
    let full = inbound.and_then(|side| side.full_status.as_ref());
    let full_status = full.map_or(503, |status| {
        if !FULL.contains(status.get_ref()) {
            check.wrong(
                &status.span(),
                format!("{} is no such status", status.get_ref()),
                "write 503, 486, 480 or 600",
            );
        }
        *status.get_ref() as u16
    });
    let ms = |check: &mut Check<'_>, count: Option<&Spanned<u64>>, default| {
        Duration::from_millis(check.bounded(count, default, 100..=60_000))
    };
    Profile {
        name: name.into(),
        remote,
        login,
        register,
        priority: check.bounded(raw.priority.as_ref(), 10, 1..=1_000) as u16,
        weight: check.bounded(raw.weight.as_ref(), 1, 1..=100) as u16,
        inbound: limits(check, inbound),
        outbound: limits(check, raw.outbound.as_ref()),
        inbound_rules: rules(check, inbound),
        outbound_rules: rules(check, raw.outbound.as_ref()),
        watch: raw.options.as_ref().map(|options| Watch {
            every: check.seconds(options.interval_s.as_ref(), 30, 1..=3_600),
            down_after: check.bounded(options.down_after.as_ref(), 3, 1..=100) as u8,
            up_after: check.bounded(options.up_after.as_ref(), 2, 1..=100) as u8,
        }),
        provisional_max: ms(check, raw.first_provisional_ms.as_ref(), 2_000),
        provisional_max_emergency: ms(check, raw.first_provisional_emergency_ms.as_ref(), 1_000),
        ring_max: check.seconds(raw.ring_max_s.as_ref(), 60, 5..=600),
        one_way_max: check.seconds(raw.one_way_max_s.as_ref(), 600, 30..=86_400),
        codecs: codecs(check, raw),
        next_on: raw.next_on.iter().map(|status| check.bounded(Some(status), 404, 400..=699) as u16).collect(),
        emergency: raw.emergency,
        drill: raw.drill,
        full_status,
        wording: Wording {
            user_phone: raw.user_phone,
            asserts_identity: raw.asserts_identity.unwrap_or(true),
            privacy: raw.privacy,
            e164: raw.e164,
            geolocation: raw.geolocation,
            user_to_user: raw.user_to_user,
            from_domain: raw.from_domain.as_ref().map_or_else(|| "".into(), |host| host_text(check, host)),
        },
    }
}

fn remote(check: &mut Check<'_>, raw: &schema::Trunk, listeners: &[Listener], sources: &[IpNet]) -> Option<Remote> {
    let text = raw.remote.as_ref()?;
    let (host, port) = host_and_port(check, text)?;
    let proxy = match &raw.proxy {
        Some(proxy) => Some(host_and_port(check, proxy)?),
        None => None,
    };
    let (next, next_port, span) = match (&proxy, &raw.proxy) {
        (Some((host, port)), Some(text)) => (host, *port, text.span()),
        (None, _) | (_, None) => (&host, port, text.span()),
    };
    let transport = raw.transport.as_ref().map_or(TrunkTransport::Udp, |transport| *transport.get_ref()).listener();
    let address = next.parse::<IpAddr>().ok();
    let address = address.map(|ip| SocketAddr::new(ip, next_port.unwrap_or(transport.sip().default_port())));
    if let Some(address) = address
        && !sources.iter().any(|network| network.contains(&address.ip()))
    {
        let message = format!("{} is not among `sources`", address.ip());
        check.wrong(&span, message, format!("add \"{}\" to sources: what it answers must be believed", address.ip()));
    }
    let listener = listener(check, raw, (transport, address.map(|it| it.is_ipv4())), listeners)?;
    Some(Remote { host, port, proxy, listener, transport: transport.sip(), address })
}

/// The listener that speaks to it: of its transport, and of its address's family where that is known.
fn listener(
    check: &mut Check<'_>,
    raw: &schema::Trunk,
    (transport, ipv4): (Transport, Option<bool>),
    listeners: &[Listener],
) -> Option<u16> {
    let family = |listener: &Listener| ipv4.is_none_or(|ipv4| ipv4 == listener.listen.is_ipv4());
    let speaks = |listener: &Listener| listener.transport == transport && family(listener);
    let named = |listener: &Listener| raw.listener.as_ref().is_none_or(|name| **name.get_ref() == *listener.name);
    let span = raw.listener.as_ref().map(Spanned::span).or(raw.transport.as_ref().map(Spanned::span));
    let span = span.or(raw.remote.as_ref().map(Spanned::span))?;
    if let Some(place) = listeners.iter().position(|listener| speaks(listener) && named(listener)) {
        if listeners[place].tls.as_ref().is_some_and(|tls| tls.authorities.is_none()) {
            let message =
                format!("listener \"{}\" believes no certificate, the trunk's neither", listeners[place].name);
            check.wrong(&span, message, "add authorities = \"FILE\" to the listener's file: who signed the trunk's");
        }
        return u16::try_from(place).ok();
    }
    // That there is none at all is told already.
    if listeners.is_empty() {
        return None;
    }
    let names: Vec<&str> = listeners.iter().filter(|it| speaks(it)).map(|listener| &*listener.name).collect();
    let cure = if names.is_empty() {
        "add one to sip-profiles/listeners, or use a transport of one that is there".into()
    } else {
        format!("write one of: {}", names.join(", "))
    };
    check.wrong(&span, "no such listener speaks this transport", cure);
    None
}

fn host_and_port(check: &mut Check<'_>, text: &schema::Text) -> Option<(Box<str>, Option<u16>)> {
    let written = text.get_ref();
    if let Ok(address) = written.parse::<SocketAddr>() {
        return Some((address.ip().to_string().into(), Some(address.port())));
    }
    if let Ok(ip) = written.parse::<IpAddr>() {
        return Some((ip.to_string().into(), None));
    }
    let (host, port) = match written.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port: &u16| *port != 0).map(Some)),
        None => (written.as_str(), Some(None)),
    };
    match port {
        Some(port) if is_host(host) => Some((host.into(), port)),
        Some(_) | None => {
            check.wrong(&text.span(), format!("\"{written}\" is neither an address nor a domain"), REMOTE_CURE);
            None
        }
    }
}

fn host_text(check: &mut Check<'_>, text: &schema::Text) -> Box<str> {
    if !is_host(text.get_ref()) {
        check.wrong(&text.span(), format!("\"{}\" is no host", text.get_ref()), "write a domain or an address");
    }
    text.get_ref().as_str().into()
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && Uri::parse(format!("sip:{host}").as_bytes()).is_ok_and(|uri| uri.host.is_some())
}

fn login(check: &mut Check<'_>, root: &Path, raw: &Spanned<schema::Account>) -> Option<Arc<Login>> {
    let account = raw.get_ref();
    let cure = "write password_file = \"PATH\" or password_env = \"NAME\"";
    let password = match (&account.password_file, &account.password_env) {
        (Some(path), None) => std::fs::read_to_string(root.join(path.get_ref()))
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .map_err(|error| {
                check.wrong(&path.span(), format!("cannot be read: {error}"), "write it there, on one line")
            })
            .ok(),
        (None, Some(name)) => std::env::var(name.get_ref())
            .map_err(|_| check.wrong(&name.span(), format!("{} is not set", name.get_ref()), "set it for this process"))
            .ok(),
        (None, None) => {
            check.wrong(&raw.span(), "an account without a password", cure);
            None
        }
        (Some(path), Some(_)) => {
            check.wrong(&path.span(), "two passwords", cure);
            None
        }
    }?;
    if password.is_empty() {
        check.wrong(&raw.span(), "an empty password", "the first line is the password");
    }
    let realm = account.realm.as_ref().map(|realm| realm.get_ref().as_str().into());
    Some(Arc::new(Login { user: account.user.get_ref().as_str().into(), password: password.into(), realm }))
}

fn limits(check: &mut Check<'_>, side: Option<&schema::TrunkSide>) -> Limits {
    let channels = check.bounded(side.and_then(|side| side.channels.as_ref()), UNLIMITED, 0..=UNLIMITED) as u32;
    let reserve = side.and_then(|side| side.reserve.as_ref());
    let kept = check.bounded(reserve, 0, 0..=UNLIMITED) as u32;
    if let Some(span) = reserve.filter(|_| kept > channels).map(Spanned::span) {
        let message = format!("a reserve of {kept} out of {channels} channels");
        check.wrong(&span, message, "keep fewer than there are");
    }
    let calls_per_s = check.bounded(side.and_then(|side| side.calls_per_s.as_ref()), UNLIMITED, 1..=UNLIMITED) as u32;
    Limits { channels, reserve: kept, calls_per_s }
}

fn rules(check: &mut Check<'_>, side: Option<&schema::TrunkSide>) -> NumberRules {
    let Some(side) = side else { return NumberRules::default() };
    let mut digits = |text: &schema::Text| -> Box<str> {
        if !text.get_ref().bytes().all(|byte| byte.is_ascii_digit() || byte == b'+') {
            check.wrong(&text.span(), format!("\"{}\" is no part of a number", text.get_ref()), "write digits or +");
        }
        text.get_ref().as_str().into()
    };
    NumberRules {
        replace: side.replace.iter().map(|(from, to)| (digits(from), digits(to))).collect(),
        strip: side.strip.as_ref().map_or_else(|| "".into(), &mut digits),
        prefix: side.prefix.as_ref().map_or_else(|| "".into(), &mut digits),
    }
}

fn codecs(check: &mut Check<'_>, raw: &schema::Trunk) -> Vec<Codec> {
    let Some(names) = &raw.codecs else { return vec![Codec::Pcma, Codec::Pcmu] };
    let mut codecs = Vec::new();
    for name in names.get_ref() {
        match name.get_ref().to_ascii_lowercase().as_str() {
            "pcma" => codecs.push(Codec::Pcma),
            "pcmu" => codecs.push(Codec::Pcmu),
            _ => check.wrong(&name.span(), format!("unknown codec \"{}\"", name.get_ref()), "write pcma or pcmu"),
        }
    }
    if codecs.is_empty() {
        check.wrong(&names.span(), "no codec", "write codecs = [\"pcma\", \"pcmu\"]");
    }
    codecs
}
