//! Two queues as others build them, under the ACD's own load: a scan of everybody under a lock, and SQL asked after each event.
//!
//! Both choose as the ACD does (the least arrival less priority times ageing, whoever is idle longest), which the run checks.
//! Neither leases, rings, times out or tells anybody: they do less than the ACD for an event.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use std::sync::Mutex;
use tokio::runtime::{Builder, Runtime};

/// One who waits.
#[derive(Clone, Copy)]
pub struct Caller {
    pub slot: u32,
    pub skill: u8,
    pub level: u8,
    /// Milliseconds by which they are ordered, the least first; micros keep apart who came in one.
    pub key: i64,
}

/// A queue that somebody else has built.
pub trait Peer {
    /// One comes. Who gets the call, if anybody is idle for it.
    fn enqueue(&mut self, caller: Caller) -> Option<u32>;
    /// This agent is free at `now`. Whose call they get.
    fn ready(&mut self, agent: u32, now: i64) -> Option<u32>;
    /// One hangs up.
    fn cancel(&mut self, slot: u32);
}

/// Everybody in two lists under one lock; each event looks at all of one of them.
pub struct Scan(Mutex<Board>);

struct Board {
    callers: Vec<Caller>,
    agents: Vec<Member>,
}

struct Member {
    /// Level by skill; 0: none.
    levels: [u8; 64],
    ready: Option<i64>,
}

impl Scan {
    pub fn new(agents: &[Vec<(u8, u8)>]) -> Scan {
        let member = |skills: &Vec<(u8, u8)>| {
            let mut levels = [0; 64];
            skills.iter().for_each(|&(skill, level)| levels[usize::from(skill)] = level);
            Member { levels, ready: None }
        };
        Scan(Mutex::new(Board { callers: Vec::new(), agents: agents.iter().map(member).collect() }))
    }
}

impl Peer for Scan {
    fn enqueue(&mut self, caller: Caller) -> Option<u32> {
        let mut board = self.0.lock().expect("nothing panics under it");
        let fits = |member: &Member| member.levels[usize::from(caller.skill)] >= caller.level;
        let idle = board.agents.iter().enumerate().filter(|(_, member)| fits(member));
        let idle = idle.filter_map(|(agent, member)| Some((member.ready?, agent))).min();
        match idle {
            Some((_, agent)) => board.agents[agent].ready = None,
            None => board.callers.push(caller),
        }
        idle.map(|(_, agent)| agent as u32)
    }

    fn ready(&mut self, agent: u32, now: i64) -> Option<u32> {
        let mut board = self.0.lock().expect("nothing panics under it");
        let Board { callers, agents } = &mut *board;
        let member = &mut agents[agent as usize];
        let fits = |caller: &Caller| member.levels[usize::from(caller.skill)] >= caller.level;
        let first = callers.iter().enumerate().filter(|(_, caller)| fits(caller)).min_by_key(|(_, caller)| caller.key);
        let first = first.map(|(place, _)| place);
        match first {
            Some(place) => Some(callers.swap_remove(place).slot),
            None => {
                member.ready = Some(now);
                None
            }
        }
    }

    fn cancel(&mut self, slot: u32) {
        let mut board = self.0.lock().expect("nothing panics under it");
        if let Some(place) = board.callers.iter().position(|caller| caller.slot == slot) {
            board.callers.swap_remove(place);
        }
    }
}

/// Tables in the memory of SQLite with the indexes that the question wants, asked for the next pair after each event. Who
/// polls by a clock instead adds half its interval to each wait. The order of the joins is given (CROSS JOIN): few agents are
/// idle, and SQLite left to itself began with the callers.
pub struct Sql {
    runtime: Runtime,
    connection: SqliteConnection,
}

const TABLES: &str = "
CREATE TABLE agents (agent INTEGER PRIMARY KEY, ready INTEGER);
CREATE INDEX idle ON agents (ready) WHERE ready IS NOT NULL;
CREATE TABLE skills (agent INTEGER, skill INTEGER, level INTEGER, PRIMARY KEY (agent, skill)) WITHOUT ROWID;
CREATE TABLE callers (slot INTEGER PRIMARY KEY, skill INTEGER, level INTEGER, key INTEGER);
CREATE INDEX line ON callers (skill, key, level);";
const NEXT: &str = "
SELECT callers.slot, agents.agent FROM agents
CROSS JOIN skills ON skills.agent = agents.agent
CROSS JOIN callers ON callers.skill = skills.skill AND callers.level <= skills.level
WHERE agents.ready IS NOT NULL ORDER BY callers.key, agents.ready LIMIT 1";

impl Sql {
    pub fn new(agents: &[Vec<(u8, u8)>]) -> Sql {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory");
            sqlx::raw_sql(TABLES).execute(&mut connection).await.expect("good SQL");
            connection
        });
        let mut sql = Sql { runtime, connection };
        sql.run("BEGIN", &[]);
        for (agent, skills) in agents.iter().enumerate() {
            sql.run("INSERT INTO agents VALUES (?, NULL)", &[agent as i64]);
            for &(skill, level) in skills {
                let row = [agent as i64, i64::from(skill), i64::from(level)];
                // Of a skill drawn twice the ACD takes the last level too.
                sql.run("INSERT OR REPLACE INTO skills VALUES (?, ?, ?)", &row);
            }
        }
        sql.run("COMMIT", &[]);
        sql
    }

    /// The way to the thread of SQLite and back, which is in each statement's time.
    pub fn round_trip(&mut self) {
        self.run("SELECT 1", &[]);
    }

    fn run(&mut self, statement: &'static str, values: &[i64]) {
        let query = values.iter().fold(sqlx::query(statement), |query, &value| query.bind(value));
        self.runtime.block_on(query.execute(&mut self.connection)).expect("good SQL");
    }

    /// Chooses and takes both out.
    fn next(&mut self) -> Option<(u32, u32)> {
        let row = self.runtime.block_on(sqlx::query(NEXT).fetch_optional(&mut self.connection)).expect("good SQL")?;
        let (slot, agent): (i64, i64) = (row.get(0), row.get(1));
        self.run("DELETE FROM callers WHERE slot = ?", &[slot]);
        self.run("UPDATE agents SET ready = NULL WHERE agent = ?", &[agent]);
        Some((slot as u32, agent as u32))
    }
}

impl Peer for Sql {
    fn enqueue(&mut self, Caller { slot, skill, level, key }: Caller) -> Option<u32> {
        let row = [i64::from(slot), i64::from(skill), i64::from(level), key];
        self.run("INSERT INTO callers VALUES (?, ?, ?, ?)", &row);
        self.next().map(|(_, agent)| agent)
    }

    fn ready(&mut self, agent: u32, now: i64) -> Option<u32> {
        self.run("UPDATE agents SET ready = ? WHERE agent = ?", &[now, i64::from(agent)]);
        self.next().map(|(slot, _)| slot)
    }

    fn cancel(&mut self, slot: u32) {
        self.run("DELETE FROM callers WHERE slot = ?", &[i64::from(slot)]);
    }
}
