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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SiteId;
    use crate::config::Config;
    use crate::config::tests::{copy, problems};
    use std::fs;
    use tempfile::TempDir;

    const RULES: &str =
        "[[rule]]\nsite = \"fuzhou\"\nnumbers = [\"0591*\"]\ntrunks = [\"carrier\"]\ncaller = \"059112345\"\n";
    const CONTEXT: &str = "public_url = \"https://12345.example.cn/\"";
    const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    /// The shipped files with a target that has these lines, and a `[context]` of those.
    fn with(target: &str, context: &str) -> TempDir {
        let dir = copy(false);
        let write = |file: &str, text: &str| {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let carrier = fs::read_to_string(dir.path().join("sip-profiles/trunks/carrier.toml")).unwrap();
        write("sip-profiles/trunks/carrier.toml", &format!("remote = \"127.0.0.9\"\n{carrier}"));
        write("sip-profiles/dialling.toml", RULES);
        let head = "[[target]]\nsite = \"fuzhou\"\nname = \"water\"\nkind = \"utility\"\nnumbers = [\"059196110\"]\n";
        write("sip-profiles/targets/fuzhou.toml", &format!("{head}{target}\n"));
        write("secret", &format!("{SECRET}\n"));
        write("short", "whsec_AAEC\n");
        write("plain", "0123456789012345678901234567890123456789\n");
        write("empty", "\n");
        let main = fs::read_to_string(dir.path().join("jiesu.toml")).unwrap();
        if !context.is_empty() {
            write("jiesu.toml", &format!("{main}\n[context]\n{context}\n"));
        }
        dir
    }

    #[test]
    fn a_target_has_a_webhook_and_a_link() {
        let target =
            "webhook = \"https://center.example/hooks?key=hidden\"\nwebhook_secret_file = \"secret\"\nlink = true";
        let config = Config::load(&with(target, CONTEXT).path().join("jiesu.toml")).unwrap_or_else(|it| panic!("{it}"));
        let context = config.context.clone().unwrap();
        assert_eq!(
            (&*context.public_url, context.link_valid),
            ("https://12345.example.cn", Duration::from_secs(7_200))
        );
        let targets = config.calls().targets;
        let water = targets.named(SiteId(0), "water").unwrap();
        let webhook = water.webhook.as_ref().unwrap();
        assert!(water.link && *webhook.secret.0 == (0..32).collect::<Vec<u8>>());
        assert_eq!(
            (&*webhook.url, &*webhook.origin),
            ("https://center.example/hooks?key=hidden", "https://center.example")
        );
        assert!(!format!("{config:?}").contains("hidden"));
    }

    #[test]
    fn this_machine_is_reached_without_tls_and_a_context_alone_gives_no_links() {
        for host in ["127.0.0.1:9000", "localhost", "[::1]:80", "127.9.9.9"] {
            let target = format!("webhook = \"http://{host}/x\"\nwebhook_secret_file = \"secret\"");
            let dir = with(&target, &format!("public_url = \"http://{host}\"\nlink_valid_s = 60"));
            let config = Config::load(&dir.path().join("jiesu.toml")).unwrap_or_else(|it| panic!("{host}: {it}"));
            assert!(!config.calls().targets.list[0].link);
        }
    }

    #[test]
    fn every_mistake_has_its_place_and_cure() {
        let hook = "webhook = \"https://center.example/\"";
        let file = "sip-profiles/targets/fuzhou.toml:6:";
        let second = "sip-profiles/targets/fuzhou.toml:7:";
        let of_target = [
            ("link = true", file, "a link needs an address", "public_url"),
            (hook, file, "a webhook needs a secret", "openssl rand"),
            ("webhook_secret_file = \"secret\"", file, "a secret without a webhook", "take it away"),
            (&format!("{hook}\nwebhook_secret_file = \"nowhere\""), second, "cannot be read", "webhook_secret_env"),
            (&format!("{hook}\nwebhook_secret_env = \"JIESU_NO_SUCH\""), second, "the environment has no", "PATH"),
            (&format!("{hook}\nwebhook_secret_file = \"empty\""), second, "an empty webhook secret", "whsec_"),
            (&format!("{hook}\nwebhook_secret_file = \"short\""), second, "24 to 64 bytes", "whsec_"),
            (&format!("{hook}\nwebhook_secret_file = \"plain\""), second, "24 to 64 bytes", "whsec_"),
            (
                &format!("{hook}\nwebhook_secret_file = \"secret\"\nwebhook_secret_env = \"X\""),
                second,
                "two webhook secrets",
                "or webhook_secret_env",
            ),
            ("webhook = \"center\"\nwebhook_secret_file = \"secret\"", file, "no address of http", "https://center"),
            ("webhook = \"ftp://x/\"\nwebhook_secret_file = \"secret\"", file, "no address of http", "https://center"),
            (
                "webhook = \"http://10.1.2.3/hidden\"\nwebhook_secret_file = \"secret\"",
                file,
                "over the network in clear",
                "write https",
            ),
            (
                "webhook = \"https://a:hidden@b.example/\"\nwebhook_secret_file = \"secret\"",
                file,
                "a user, a password",
                "https://center",
            ),
        ];
        for (target, place, message, cure) in of_target {
            let told = problems(&with(target, ""));
            assert_eq!(told.len(), 1, "{target}: {told:#?}");
            let whole = told[0].starts_with(place) && told[0].contains(message) && told[0].contains(cure);
            assert!(whole && !told[0].contains("hidden"), "{target}: {told:#?}");
        }
        let of_context = [
            ("public_url = \"http://12345.example.cn\"", "over the network in clear", "127.0.0.1"),
            ("public_url = \"https://12345.example.cn/?a=b\"", "an address with a query", "write only as much"),
            ("public_url = \"https://12345.example.cn/#a\"", "a fragment", "https://12345.example.cn"),
            ("public_url = \"12345.example.cn\"", "no address of http", "https://12345.example.cn"),
            (&format!("{CONTEXT}\nlink_valid_s = 59"), "59 is out of bounds", "from 60 to 604800"),
            ("link_valid_s = 60", "key `public_url` is missing", "add public_url"),
        ];
        for (context, message, cure) in of_context {
            let told = problems(&with("", context));
            let whole = told[0].starts_with("jiesu.toml:") && told[0].contains(message) && told[0].contains(cure);
            assert!(told.len() == 1 && whole, "{context}: {told:#?}");
        }
    }
}
