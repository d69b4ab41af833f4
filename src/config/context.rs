//! `[context]`, and what of a target says how its own system learns of a call: its webhook and its link.
//!
//! What goes there holds citizens' numbers and words, and so goes by TLS, in an intranet too: its certificates may come from
//! an authority of its own that the system trusts. Only to this machine, where a proxy may stand, it goes without.

use super::schema;
use super::source::Check;
use crate::call::ahead::{Secret, Webhook};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long links may be good: the time of a call and of the work behind it.
const LINK_VALID_S: RangeInclusive<u64> = 60..=604_800;
/// How long they are, if not said.
const LINK_VALID_USUAL_S: u64 = 7_200;
/// Longest address, in characters.
const URL_CHARACTERS_MAX: usize = 500;
/// What Standard Webhooks' secrets begin with.
const SECRET_PREFIX: &str = "whsec_";
/// How many bytes follow, in base64.
const SECRET_BYTES: RangeInclusive<usize> = 24..=64;
const SECRET_CURE: &str = "write webhook_secret_file = \"PATH\" or webhook_secret_env = \"NAME\"; make the secret with: \
                           echo whsec_$(openssl rand -base64 32)";

/// `[context]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// At which targets reach the node's HTTP, most likely through a proxy; without a slash at its end.
    pub public_url: Box<str>,
    /// For how long a link is good.
    pub link_valid: Duration,
}

pub(super) fn check(check: &mut Check<'_>, raw: &schema::Context) -> Context {
    let example = "https://12345.example.cn";
    let url = address(check, &raw.public_url, example);
    if url.as_ref().is_some_and(|url| url.query().is_some()) {
        check.wrong(&raw.public_url.span(), "an address with a query", format!("write only as much as \"{example}\""));
    }
    Context {
        public_url: url.map_or_else(Box::default, |url| url.as_str().trim_end_matches('/').into()),
        link_valid: check.seconds(raw.link_valid_s.as_ref(), LINK_VALID_USUAL_S, LINK_VALID_S),
    }
}

/// Whether a target is given links: only where there is an address for them.
pub(super) fn link(check: &mut Check<'_>, raw: &schema::Target, has_context: bool) -> bool {
    let Some(link) = &raw.link else { return false };
    if *link.get_ref() && !has_context {
        let cure = "write [context] public_url = \"https://…\" in jiesu.toml, or take `link` away";
        check.wrong(&link.span(), "a link needs an address at which the target reaches this node", cure);
    }
    *link.get_ref()
}

/// Where a target's own system is told, and the secret that signs it.
pub(super) fn webhook(check: &mut Check<'_>, raw: &schema::Target, root: &Path) -> Option<Arc<Webhook>> {
    let named = (&raw.webhook_secret_file, &raw.webhook_secret_env);
    let Some(text) = &raw.webhook else {
        if let Some(odd) = named.0.as_ref().or(named.1.as_ref()) {
            check.wrong(&odd.span(), "a secret without a webhook", "write webhook = \"https://…\", or take it away");
        }
        return None;
    };
    let url = address(check, text, "https://center.example.cn/hooks/12345");
    if let (None, None) = named {
        check.wrong(&text.span(), "a webhook needs a secret: without it anybody could pretend to be us", SECRET_CURE);
    }
    let place = named.0.as_ref().or(named.1.as_ref()).map_or(text.span(), |place| place.span());
    let written = check.secret(root, named, ("webhook secret", SECRET_CURE))?;
    let bytes = written.strip_prefix(SECRET_PREFIX).and_then(|text| BASE64_STANDARD.decode(text).ok());
    let Some(secret) = bytes.filter(|bytes| SECRET_BYTES.contains(&bytes.len())) else {
        let (least, most) = SECRET_BYTES.into_inner();
        let message = format!("the webhook secret is not \"{SECRET_PREFIX}\" and {least} to {most} bytes in base64");
        check.wrong(&place, message, SECRET_CURE);
        return None;
    };
    let url = url?;
    let origin = url.origin().ascii_serialization().into();
    Some(Arc::new(Webhook { url: url.as_str().into(), origin, secret: Secret(secret.into()) }))
}

/// An address to which citizens' data may go.
fn address(check: &mut Check<'_>, text: &schema::Text, example: &str) -> Option<Url> {
    let (span, cure) = (text.span(), format!("write an address such as \"{example}\""));
    // Its path or query may hold a key: it is not repeated.
    let url = Url::parse(text.get_ref()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url.filter(|_| text.get_ref().len() <= URL_CHARACTERS_MAX) else {
        check.wrong(&span, format!("no address of http or https, of {URL_CHARACTERS_MAX} characters at most"), cure);
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        check.wrong(&span, "an address with a user, a password or a fragment", cure);
        return None;
    }
    if url.scheme() == "http" && !is_this_machine(&url) {
        let cure = "write https://…; a certificate may be of your own authority if the system trusts that, and http is for \
                    127.0.0.1, ::1 and localhost, where a proxy may stand";
        check.wrong(&span, "citizens' numbers would go over the network in clear", cure);
        return None;
    }
    Some(url)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}
