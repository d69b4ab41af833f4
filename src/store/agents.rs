//! The people who answer: names, digest secrets, skills.
//!
//! A password is hashed with its realm the moment it arrives and is kept nowhere (RFC 7616 §3.4.2: H(A1) is all a
//! server needs). An agent is disabled, never deleted: facts name them and machines number them.

use super::{Site, Store, StoreError};
use crate::acd::event::AgentSettings;
use crate::base::{AgentId, SkillId, Wall};
use crate::sip::event::Credential;
use md5::Md5;
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use std::collections::BTreeMap;

/// Longest name of an agent.
pub const NAME_BYTES_MAX: usize = 64;

/// An agent as people see it; secrets stay in the table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct AgentRow {
    /// Site code.
    pub site: String,
    /// Name: user part of the phone's address-of-record, and what facts say.
    pub name: String,
    /// Dense number, given once and never again.
    pub number: u32,
    /// Name for people.
    pub display_name: String,
    /// Digest realm and domain of the address-of-record.
    pub domain: String,
    /// Whether they may register and log in.
    pub enabled: bool,
    /// Their team; empty for none.
    pub team: String,
    /// The seat they have logged in to; its phone is theirs meanwhile.
    pub seat: Option<String>,
    /// Skills by name.
    pub skills: Vec<Skill>,
}

/// A skill and how well it is mastered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema, FromRow)]
pub struct Skill {
    /// Name, as queues ask for it.
    pub skill: String,
    /// 1 (least) to 9.
    pub level: u8,
    /// From when on it holds, in milliseconds since 1970; `None`: always did.
    #[serde(default)]
    pub valid_from: Option<i64>,
    /// The first moment at which it holds no more; `None`: always will.
    #[serde(default)]
    pub valid_until: Option<i64>,
}

impl Skill {
    /// One that always holds.
    pub fn always(skill: &str, level: u8) -> Skill {
        Skill { skill: skill.into(), level, valid_from: None, valid_until: None }
    }

    fn holds(&self, now: Wall) -> bool {
        self.valid_from.is_none_or(|from| from <= now.0) && self.valid_until.is_none_or(|until| now.0 < until)
    }
}

/// A new agent.
#[derive(Clone)]
pub struct NewAgent<'a> {
    /// 1–64 characters of `A–Z a–z 0–9 . _ -`, unique in its domain.
    pub name: &'a str,
    /// Name for people.
    pub display_name: &'a str,
    /// The site's domain: digest realm.
    pub domain: &'a str,
    /// Hashed at once, kept nowhere.
    pub password: &'a str,
}

/// Why a change of an agent was refused.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The site is not configured.
    #[error("no such site")]
    UnknownSite,
    /// The site has no agent of this name.
    #[error("no such agent")]
    UnknownAgent,
    /// The name is taken in its domain.
    #[error("the name is taken")]
    Taken,
    /// The name is not 1–64 characters of letters, digits, dot, underscore and hyphen.
    #[error("a name is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -")]
    BadName,
    /// The password is empty.
    #[error("the password is empty")]
    EmptyPassword,
    /// A level is not 1–9, a skill is named twice or not at all, or ends before it begins.
    #[error("skills are named once each, with a level of 1 to 9 and an end after their beginning")]
    BadSkill,
    /// The name of a team is too long.
    #[error("the name of a team has at most {NAME_BYTES_MAX} bytes")]
    BadTeam,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for AgentError {
    fn from(error: sqlx::Error) -> Self {
        AgentError::Store(error.into())
    }
}

impl AgentRow {
    /// What the ACD needs of them at this moment. `skills` lists the site's skill names in the order of their ids; a skill
    /// that no queue of the configuration asks for is left out.
    pub fn settings(&self, skills: &[Box<str>], now: Wall) -> AgentSettings {
        let id_of = |name: &str| u8::try_from(skills.iter().position(|known| **known == *name)?).ok().map(SkillId);
        let held = self.skills.iter().filter(|held| held.holds(now));
        let held = held.filter_map(|held| Some((id_of(&held.skill)?, held.level)));
        AgentSettings { agent: AgentId(self.number), skills: held.collect() }
    }

    /// The next moment at which one of their skills begins or ends.
    pub fn changes_after(&self, now: Wall) -> Option<Wall> {
        let moments = self.skills.iter().flat_map(|held| [held.valid_from, held.valid_until]);
        moments.flatten().filter(|moment| *moment > now.0).min().map(Wall)
    }
}

impl Site<'_> {
    /// Adds an agent, enabled and without skills, and gives the number that is theirs for good.
    pub async fn add_agent(&self, new: &NewAgent<'_>) -> Result<AgentId, AgentError> {
        if !is_name(new.name) {
            return Err(AgentError::BadName);
        }
        let secret = Secret::of(new.name, new.domain, new.password)?;
        // The number is chosen inside the statement; under a second writer the loser's UNIQUE fails and can be retried.
        let insert = "INSERT INTO agents (site, name, number, display_name, domain, ha1_md5, ha1_sha256, enabled) \
                      SELECT $1, $2, COALESCE(MAX(number) + 1, 0), $3, $4, $5, $6, TRUE FROM agents \
                      HAVING NOT EXISTS (SELECT 1 FROM seats WHERE domain = $4 AND name = $2) RETURNING number";
        let insert = sqlx::query_scalar(insert).bind(self.code).bind(new.name).bind(new.display_name).bind(new.domain);
        let insert = insert.bind(secret.ha1_md5).bind(secret.ha1_sha256);
        let number: Option<i64> = insert.fetch_optional(&self.store.writer).await.map_err(refusal)?;
        // A seat's phone is called so.
        let number = number.ok_or(AgentError::Taken)?;
        self.store.people_changed().await?;
        Ok(AgentId(dense(number)))
    }

    /// All agents of the site with their skills, by number; disabled ones too.
    pub async fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        #[derive(FromRow)]
        struct Row {
            name: String,
            number: i64,
            display_name: String,
            domain: String,
            enabled: bool,
            team: String,
            seat: Option<String>,
        }
        let mut moment = self.store.readers.begin().await?;
        let rows = "SELECT name, number, display_name, domain, enabled, team, seat FROM agents WHERE site = $1 ORDER BY number";
        let rows: Vec<Row> = sqlx::query_as(rows).bind(self.code).fetch_all(&mut *moment).await?;
        let skills = "SELECT agent, skill, level, valid_from, valid_until FROM agent_skills WHERE site = $1 \
                      ORDER BY agent, skill";
        let skills: Vec<SkillRow> = sqlx::query_as(skills).bind(self.code).fetch_all(&mut *moment).await?;
        let skills_of = |name: &str| {
            let first = skills.partition_point(|(agent, ..)| agent.as_str() < name);
            let of_agent = skills[first..].iter().take_while(|(agent, ..)| agent == name);
            let skill = |(_, skill, level, valid_from, valid_until): &SkillRow| {
                let (valid_from, valid_until) = (*valid_from, *valid_until);
                Skill { skill: skill.clone(), level: level_of(*level), valid_from, valid_until }
            };
            of_agent.map(skill).collect()
        };
        let agent = |row: Row| AgentRow {
            site: self.code.into(),
            skills: skills_of(&row.name),
            name: row.name,
            number: dense(row.number),
            display_name: row.display_name,
            domain: row.domain,
            enabled: row.enabled,
            team: row.team,
            seat: row.seat,
        };
        Ok(rows.into_iter().map(agent).collect())
    }

    /// Gives an agent a new password.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), AgentError> {
        let domain = "SELECT domain FROM agents WHERE site = $1 AND name = $2";
        let domain = sqlx::query_scalar(domain).bind(self.code).bind(name).fetch_optional(&self.store.writer).await?;
        let domain: String = domain.ok_or(AgentError::UnknownAgent)?;
        let secret = Secret::of(name, &domain, password)?;
        let update = "UPDATE agents SET ha1_md5 = $3, ha1_sha256 = $4 WHERE site = $1 AND name = $2";
        let update = sqlx::query(update).bind(self.code).bind(name).bind(secret.ha1_md5).bind(secret.ha1_sha256);
        found(update.execute(&self.store.writer).await?.rows_affected())?;
        Ok(self.store.people_changed().await?)
    }

    /// Whether this is the agent's password. A disabled agent has none. Takes the same time whatever part differs.
    pub async fn is_password(&self, name: &str, password: &str) -> Result<bool, StoreError> {
        let stored = "SELECT domain, ha1_sha256 FROM agents WHERE site = $1 AND name = $2 AND enabled = TRUE";
        let stored = sqlx::query_as(stored).bind(self.code).bind(name);
        let Some((domain, ha1)) = stored.fetch_optional(&self.store.readers).await? else {
            return Ok(false);
        };
        let (domain, ha1): (String, String) = (domain, ha1);
        let given = Secret::of(name, &domain, password);
        Ok(given.is_ok_and(|given| subtle::ConstantTimeEq::ct_eq(given.ha1_sha256.as_bytes(), ha1.as_bytes()).into()))
    }

    /// Lets an agent in or keeps them out; calls that run go on.
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), AgentError> {
        let update = sqlx::query(
            "UPDATE agents SET enabled = $3, seat = CASE WHEN $3 THEN seat END WHERE site = $1 AND name = $2",
        );
        let update = update.bind(self.code).bind(name).bind(enabled);
        found(update.execute(&self.store.writer).await?.rows_affected())?;
        Ok(self.store.people_changed().await?)
    }

    /// The team of each agent; empty for none.
    pub async fn teams(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let rows = sqlx::query_as("SELECT name, team FROM agents WHERE site = $1").bind(self.code);
        let rows: Vec<(String, String)> = rows.fetch_all(&self.store.readers).await?;
        Ok(rows.into_iter().collect())
    }

    /// Puts an agent into a team; into none when its name is empty.
    pub async fn set_team(&self, name: &str, team: &str) -> Result<(), AgentError> {
        if team.len() > NAME_BYTES_MAX {
            return Err(AgentError::BadTeam);
        }
        let update = sqlx::query("UPDATE agents SET team = $3 WHERE site = $1 AND name = $2");
        found(update.bind(self.code).bind(name).bind(team).execute(&self.store.writer).await?.rows_affected())?;
        Ok(self.store.people_changed().await?)
    }

    /// Makes these an agent's skills, in place of all before.
    pub async fn set_skills(&self, name: &str, skills: &[Skill]) -> Result<(), AgentError> {
        let names: std::collections::BTreeSet<&str> = skills.iter().map(|held| held.skill.as_str()).collect();
        let levels_fit = skills.iter().all(|held| (1..=9).contains(&held.level));
        let end = |held: &Skill| held.valid_from.zip(held.valid_until).is_some_and(|(from, until)| until <= from);
        if skills.iter().any(end) || !levels_fit || names.len() != skills.len() || names.contains("") {
            return Err(AgentError::BadSkill);
        }
        let mut transaction = self.store.begin().await?;
        let forget = sqlx::query("DELETE FROM agent_skills WHERE site = $1 AND agent = $2").bind(self.code).bind(name);
        forget.execute(&mut *transaction).await?;
        let known = sqlx::query("SELECT number FROM agents WHERE site = $1 AND name = $2").bind(self.code).bind(name);
        if known.fetch_optional(&mut *transaction).await?.is_none() {
            return Err(AgentError::UnknownAgent);
        }
        for held in skills {
            let insert = "INSERT INTO agent_skills (site, agent, skill, level, valid_from, valid_until) \
                          VALUES ($1, $2, $3, $4, $5, $6)";
            let insert = sqlx::query(insert).bind(self.code).bind(name).bind(&held.skill).bind(i64::from(held.level));
            let insert = insert.bind(held.valid_from).bind(held.valid_until);
            insert.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(self.store.people_changed().await?)
    }
}

impl Store {
    /// Counts up with every change of an agent, their skills or their phone's secret, on any site.
    pub async fn people_revision(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT revision FROM people").fetch_one(&self.readers).await?)
    }

    pub(super) async fn people_changed(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE people SET revision = revision + 1").execute(&self.writer).await?;
        Ok(())
    }

    /// The digest secrets of all enabled agents and all seats of all sites: for the registrars of this node, never for a person.
    pub async fn credentials(&self) -> Result<Vec<Credential>, StoreError> {
        let rows = "SELECT name, domain, ha1_md5, ha1_sha256 FROM (\
                    SELECT name, domain, ha1_md5, ha1_sha256, number FROM agents WHERE enabled = TRUE \
                    UNION ALL SELECT name, domain, ha1_md5, ha1_sha256, NULL FROM seats) AS phones \
                    ORDER BY number IS NULL, number, domain, name";
        let rows: Vec<(String, String, String, String)> = sqlx::query_as(rows).fetch_all(&self.readers).await?;
        let credential = |(user, domain, md5, sha256): (String, String, String, String)| {
            let broken = || StoreError::Away(sqlx::Error::Decode("a digest secret is not hexadecimal".into()));
            Ok(Credential {
                user: user.into(),
                domain: domain.into(),
                ha1_md5: bytes(&md5).ok_or_else(broken)?,
                ha1_sha256: bytes(&sha256).ok_or_else(broken)?,
                ha1_sha512_256: None,
            })
        };
        rows.into_iter().map(credential).collect()
    }
}

/// Agent, skill, level, from when on and until before when.
type SkillRow = (String, String, i64, Option<i64>, Option<i64>);

/// H(A1) in hexadecimal, for both algorithms.
pub(super) struct Secret {
    pub(super) ha1_md5: String,
    pub(super) ha1_sha256: String,
}

impl Secret {
    /// RFC 7616 §3.4.2: A1 = username ":" realm ":" password.
    pub(super) fn of(name: &str, domain: &str, password: &str) -> Result<Secret, AgentError> {
        if password.is_empty() {
            return Err(AgentError::EmptyPassword);
        }
        let a1 = format!("{name}:{domain}:{password}");
        Ok(Secret { ha1_md5: hexadecimal(&Md5::digest(&a1)), ha1_sha256: hexadecimal(&Sha256::digest(&a1)) })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(&text[2 * pair..2 * pair + 2], 16).ok()?;
    }
    Some(bytes)
}

pub(super) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

pub(super) fn refusal(error: sqlx::Error) -> AgentError {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => AgentError::Taken,
        sqlx::Error::Database(database) if database.is_foreign_key_violation() => AgentError::UnknownSite,
        _ => error.into(),
    }
}

pub(super) fn found(rows: u64) -> Result<(), AgentError> {
    if rows == 0 { Err(AgentError::UnknownAgent) } else { Ok(()) }
}

/// The schema keeps numbers from 0 upwards, one by one.
fn dense(number: i64) -> u32 {
    u32::try_from(number).expect("fewer than 2^32 agents")
}

/// The schema keeps levels within 1–9.
fn level_of(level: i64) -> u8 {
    u8::try_from(level).expect("a level is 1 to 9")
}

#[cfg(test)]
mod tests {
    use super::super::sites::tests::site;
    use super::*;

    async fn store() -> Store {
        let store = Store::memory().await.unwrap();
        store.sync_sites(&[site("a"), site("b")]).await.unwrap();
        store
    }

    fn agent<'a>(name: &'a str, domain: &'a str) -> NewAgent<'a> {
        NewAgent { name, display_name: "张三", domain, password: "Circle of Life" }
    }

    fn skill(skill: &str, level: u8) -> Skill {
        Skill::always(skill, level)
    }

    #[tokio::test]
    async fn secrets_are_those_of_rfc_7616_and_the_password_is_nowhere() {
        let store = store().await;
        store.site("a").add_agent(&agent("Mufasa", "http-auth@example.org")).await.unwrap();
        let credentials = store.credentials().await.unwrap();
        assert_eq!(hexadecimal(&credentials[0].ha1_md5), "3d78807defe7de2157e2b0b6573a855f");
        let sha256 = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";
        assert_eq!(hexadecimal(&credentials[0].ha1_sha256), sha256);
        assert_eq!((&*credentials[0].user, &*credentials[0].domain), ("Mufasa", "http-auth@example.org"));
        let columns = "SELECT name || display_name || domain || ha1_md5 || ha1_sha256 FROM agents";
        let row: String = sqlx::query_scalar(columns).fetch_one(&store.readers).await.unwrap();
        assert!(!row.contains("Circle"));
    }

    #[tokio::test]
    async fn every_change_of_people_is_counted() {
        let store = store().await;
        let site = store.site("a");
        let mut seen = vec![store.people_revision().await.unwrap()];
        let new = NewAgent { name: "1001", display_name: "", domain: "a.example", password: "secret" };
        site.add_agent(&new).await.unwrap();
        seen.push(store.people_revision().await.unwrap());
        site.set_password("1001", "other").await.unwrap();
        seen.push(store.people_revision().await.unwrap());
        site.set_enabled("1001", false).await.unwrap();
        seen.push(store.people_revision().await.unwrap());
        site.set_skills("1001", &[Skill::always("general", 5)]).await.unwrap();
        seen.push(store.people_revision().await.unwrap());
        assert!(seen.is_sorted_by(|before, after| before < after), "{seen:?}");
        assert!(site.set_enabled("1002", false).await.is_err());
        assert_eq!(store.people_revision().await.unwrap(), seen[4], "a refused change is none");
    }

    #[tokio::test]
    async fn numbers_are_dense_across_sites_and_never_given_twice() {
        let store = store().await;
        let mut numbers = Vec::new();
        for (code, name) in [("a", "1001"), ("b", "1001"), ("a", "1002")] {
            numbers.push(store.site(code).add_agent(&agent(name, code)).await.unwrap());
        }
        assert_eq!(numbers, [AgentId(0), AgentId(1), AgentId(2)]);
        store.site("a").set_enabled("1002", false).await.unwrap();
        assert_eq!(store.site("b").add_agent(&agent("1002", "b")).await.unwrap(), AgentId(3));
        let listed = store.site("a").agents().await.unwrap();
        assert_eq!(listed.iter().map(|row| (row.number, row.enabled)).collect::<Vec<_>>(), [(0, true), (2, false)]);
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_by_name() {
        let store = store().await;
        store.site("a").add_agent(&agent("1001", "a")).await.unwrap();
        let add = async |site: &str, new: NewAgent<'_>| store.site(site).add_agent(&new).await;
        assert!(matches!(add("a", agent("1001", "a")).await, Err(AgentError::Taken)));
        assert!(matches!(add("b", agent("1001", "a")).await, Err(AgentError::Taken)), "one domain, one user");
        assert!(matches!(add("nowhere", agent("1001", "n")).await, Err(AgentError::UnknownSite)));
        for name in ["", "a:b", "a b", "张三", &"x".repeat(65)] {
            assert!(matches!(add("a", agent(name, "a")).await, Err(AgentError::BadName)), "{name}");
        }
        let mute = NewAgent { password: "", ..agent("1009", "a") };
        assert!(matches!(add("a", mute).await, Err(AgentError::EmptyPassword)));
        assert!(matches!(store.site("b").set_password("1001", "x").await, Err(AgentError::UnknownAgent)));
        assert!(matches!(store.site("b").set_enabled("1001", false).await, Err(AgentError::UnknownAgent)));
        assert!(matches!(store.site("b").set_skills("1001", &[]).await, Err(AgentError::UnknownAgent)));
    }

    #[tokio::test]
    async fn a_password_changes_and_a_disabled_agent_has_none() {
        let store = store().await;
        let a = store.site("a");
        a.add_agent(&agent("1001", "a")).await.unwrap();
        assert!(a.is_password("1001", "Circle of Life").await.unwrap());
        a.set_password("1001", "Hakuna Matata").await.unwrap();
        assert!(!a.is_password("1001", "Circle of Life").await.unwrap());
        assert!(a.is_password("1001", "Hakuna Matata").await.unwrap());
        assert!(!store.site("b").is_password("1001", "Hakuna Matata").await.unwrap());
        a.set_enabled("1001", false).await.unwrap();
        assert!(!a.is_password("1001", "Hakuna Matata").await.unwrap());
        assert_eq!(store.credentials().await.unwrap(), []);
    }

    #[tokio::test]
    async fn skills_are_replaced_as_a_whole_and_reach_the_acd_by_id() {
        let store = store().await;
        let a = store.site("a");
        a.add_agent(&agent("1001", "a")).await.unwrap();
        a.set_skills("1001", &[skill("old", 3)]).await.unwrap();
        a.set_skills("1001", &[skill("water", 9), skill("heating", 1), skill("unasked", 5)]).await.unwrap();
        for bad in [&[skill("water", 0)][..], &[skill("water", 10)], &[skill("x", 1), skill("x", 2)], &[skill("", 1)]] {
            assert!(matches!(a.set_skills("1001", bad).await, Err(AgentError::BadSkill)));
        }
        let settings =
            a.agents().await.unwrap()[0].settings(&["heating".into(), "power".into(), "water".into()], Wall(0));
        let expected = AgentSettings { agent: AgentId(0), skills: vec![(SkillId(0), 1), (SkillId(2), 9)] };
        assert_eq!(settings, expected);
    }

    #[tokio::test]
    async fn a_skill_holds_between_its_dates_and_a_team_is_shown() {
        let store = store().await;
        let site = store.site("a");
        site.add_agent(&agent("1001", "a.example")).await.unwrap();
        let dated = |from, until| Skill { valid_from: from, valid_until: until, ..Skill::always("law", 3) };
        site.set_skills("1001", &[Skill::always("general", 5), dated(Some(10), Some(20))]).await.unwrap();
        site.set_team("1001", "后备").await.unwrap();
        assert!(matches!(site.set_team("9", "x").await, Err(AgentError::UnknownAgent)));
        assert!(matches!(site.set_team("1001", &"x".repeat(65)).await, Err(AgentError::BadTeam)));
        assert!(matches!(site.set_skills("1001", &[dated(Some(5), Some(5))]).await, Err(AgentError::BadSkill)));
        let agent = &site.agents().await.unwrap()[0];
        assert_eq!(agent.team, "后备");
        assert_eq!(site.teams().await.unwrap(), BTreeMap::from([("1001".to_owned(), "后备".to_owned())]));
        let skills = ["general".into(), "law".into()];
        for (now, held, next) in [(9, 1, Some(10)), (10, 2, Some(20)), (19, 2, Some(20)), (20, 1, None)] {
            assert_eq!(agent.settings(&skills, Wall(now)).skills.len(), held, "{now}");
            assert_eq!(agent.changes_after(Wall(now)), next.map(Wall), "{now}");
        }
    }
}
