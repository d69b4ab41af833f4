//! Who is asking: bearer tokens (RFC 6750), the site a request is about, and what the audit is told.
//!
//! Owns [`Caller`], which every route but health and the API's description takes. Tokens are known only by their
//! SHA-256; the presented one is hashed and compared with all of them in constant time. Never decides rights: that is
//! [`may`](super::may).

use super::may::{Action, Actor, Grant, Object, Reach, Role, Verdict, may};
use super::problem::Problem;
use super::{Api, Busy, audit_name};
use crate::base::SiteId;
use crate::base::fact::Audit;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// A token as configured.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// Who holds it; for an agent the agent's name.
    pub actor: Box<str>,
    /// Their role.
    pub role: Role,
    /// Code of the only site it is for; `None` for all.
    pub site: Option<Box<str>>,
    /// SHA-256 of the token's characters.
    pub token_sha256: [u8; 32],
}

/// The holder of a known token, and where the request came from.
#[derive(Clone)]
pub struct Caller {
    api: Arc<Api>,
    /// Who.
    pub actor: Actor,
    token_sha256: [u8; 32],
    from: Box<str>,
}

/// A site by both its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// On this node.
    pub id: SiteId,
    /// Everywhere.
    pub code: Arc<str>,
}

/// The token with this hash. Takes as long for every hash.
fn find<'a>(tokens: &'a [TokenSettings], hash: &[u8; 32]) -> Option<&'a TokenSettings> {
    let mut found = u32::MAX;
    for (index, token) in (0u32..).zip(tokens) {
        let same: Choice = token.token_sha256.ct_eq(hash);
        found.conditional_assign(&index, same);
    }
    tokens.get(found as usize)
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Caller, Problem> {
        let from = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
        let from: Box<str> = from.unwrap_or_default().into();
        let value = parts.headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        // RFC 9110 section 11.1: the scheme's name has no case.
        let token = match value.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            _ => b"",
        };
        let token_sha256: [u8; 32] = Sha256::digest(token).into();
        let tokens = api.node.tokens.load();
        match find(&tokens, &token_sha256).filter(|_| !token.is_empty()) {
            Some(TokenSettings { actor, role, site, .. }) => {
                let actor = Actor { name: actor.clone(), role: *role, site: site.clone() };
                Ok(Caller { api: Arc::clone(api), actor, token_sha256, from })
            }
            None => {
                api.refuse_stranger(from, parts.uri.path());
                Err(Problem::unauthorized())
            }
        }
    }
}

impl Caller {
    /// Asks [`may`]; a no is told to the audit. `object` names what is asked about.
    ///
    /// # Errors
    /// 403 or, for another site's objects, 404.
    pub fn may(&self, action: Action, object: Object<'_>, name: &str) -> Result<Grant, Problem> {
        match may(&self.actor, action, object) {
            Verdict::Granted(grant) => Ok(grant),
            Verdict::Refused => {
                self.tell(action, name, false);
                Err(Problem::forbidden())
            }
            Verdict::Absent => {
                self.tell(action, name, false);
                Err(Problem::not_found())
            }
        }
    }

    /// Tells the audit that this was done or read.
    pub fn done(&self, site: SiteId, action: Action, name: &str) {
        self.api.audit(Some(site), self.fact(action, name, true));
    }

    /// The same of the node, which belongs to no site.
    pub fn done_to_node(&self, action: Action, name: &str) {
        self.api.audit(None, self.fact(action, name, true));
    }

    fn tell(&self, action: Action, name: &str, allowed: bool) {
        let site = self.actor.site.as_deref().and_then(|code| self.api.node.live.site(code));
        self.api.audit(site, self.fact(action, name, allowed));
    }

    fn fact(&self, action: Action, name: &str, allowed: bool) -> Audit {
        Audit {
            actor: self.actor.name.clone(),
            role: self.actor.role.word().into(),
            action: action.word().into(),
            object: name.into(),
            allowed,
            from: self.from.clone(),
        }
    }

    /// The site a request is about: the one it names, else the token's own; `None` is all of them.
    ///
    /// # Errors
    /// 403 when the role may not at all; 404 when it is not this token's site, or nobody's.
    pub fn site(&self, action: Action, asked: Option<&str>) -> Result<(Option<Site>, Grant), Problem> {
        let code = asked.or(self.actor.site.as_deref());
        let grant = self.may(action, Object::All(code), code.unwrap_or("*"))?;
        let Some(code) = code else { return Ok((None, grant)) };
        let id = self.api.node.live.site(code).ok_or_else(Problem::not_found)?;
        Ok((Some(Site { id, code: code.into() }), grant))
    }

    /// The same where one site must be named.
    ///
    /// # Errors
    /// As [`site`](Caller::site), and 400 when a token for all sites names none.
    pub fn one_site(&self, action: Action, asked: Option<&str>) -> Result<(Site, Grant), Problem> {
        let (site, grant) = self.site(action, asked)?;
        let site = site.ok_or_else(|| Problem::bad_request("this token is for all sites: name one by ?site="))?;
        Ok((site, grant))
    }

    /// Whose records a list shows: of the agent asked for, of all, or only the actor's own.
    ///
    /// # Errors
    /// 403 when another's are asked for by one who sees only their own.
    pub fn whose(
        &self,
        action: Action,
        site: &Site,
        asked: Option<String>,
        reach: Reach,
    ) -> Result<Option<String>, Problem> {
        if let Some(agent) = &asked {
            let object = Object::One { site: &site.code, owner: Some(agent) };
            self.may(action, object, audit_name(agent))?;
        }
        Ok(match reach {
            Reach::Own => Some(self.actor.name.to_string()),
            Reach::Site => asked,
        })
    }

    /// Whether the token is still good: a reload may have taken it away from a stream that is open.
    pub fn still_known(&self) -> bool {
        let tokens = self.api.node.tokens.load();
        find(&tokens, &self.token_sha256).is_some_and(|token| {
            token.actor == self.actor.name && token.role == self.actor.role && token.site == self.actor.site
        })
    }
}

impl From<Busy> for Problem {
    fn from(_: Busy) -> Problem {
        Problem::busy("the node is too busy to take this: ask again")
    }
}
