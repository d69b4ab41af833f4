//! Who can serve what, worked out once per configuration so that nothing compares skills while calls come in.
//!
//! Queues that ask for the same skills share one *need*; agents who can serve exactly the same needs, and whom no queue ranks
//! differently, form one *team*. Both are dense numbers. Knows nothing of states or callers.

use super::event::{QueueSettings, Settings, Strategy};
use crate::base::{AgentId, QueueId, SkillId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A set of skill needs that some queue has, dense within one configuration.
pub(super) type Need = usize;
/// A set of agents who can serve the same needs, dense within one configuration.
pub(super) type Team = usize;

/// Equal rows of bits: a table of yes and no.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Bits {
    words: usize,
    bits: Vec<u64>,
}

impl Bits {
    /// `rows` rows of `columns` times no.
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let words = columns.div_ceil(64);
        Bits { words, bits: vec![0; rows * words] }
    }

    /// One row as words, the lowest column in the lowest bit of the first.
    pub(super) fn row(&self, row: usize) -> &[u64] {
        &self.bits[row * self.words..(row + 1) * self.words]
    }

    /// Writes yes or no.
    pub(super) fn put(&mut self, row: usize, column: usize, yes: bool) {
        let word = &mut self.bits[row * self.words + column / 64];
        let bit = 1 << (column % 64);
        *word = if yes { *word | bit } else { *word & !bit };
    }
}

/// The columns in which both rows say yes, in ascending order.
pub(super) fn common<'a>(one: &'a [u64], other: &'a [u64]) -> impl Iterator<Item = usize> + Clone + 'a {
    one.iter().zip(other).enumerate().flat_map(|(at, (one, other))| Ones(one & other).map(move |bit| at * 64 + bit))
}

/// The set bits of one word, lowest first.
#[derive(Clone)]
struct Ones(u64);

impl Iterator for Ones {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

/// What the settings say about who can serve what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Skills {
    /// How many needs there are.
    pub(super) needs: usize,
    /// How many teams there are.
    pub(super) teams: usize,
    /// By queue and stage of waiting.
    needs_of: Vec<Vec<Need>>,
    /// By queue: what an agent of each team is to it, the lowest first; empty where all are the same.
    grades: Vec<Vec<u32>>,
    team_of: Vec<Option<Team>>,
    /// By team: the needs it can serve.
    serves: Bits,
    /// By need: the teams that can serve it.
    able: Bits,
}

impl Skills {
    /// Compares every agent with every need.
    pub(super) fn of(settings: &Settings) -> Self {
        let mut needs: Vec<Vec<(SkillId, u8)>> = Vec::new();
        let mut stages = |queue: &QueueSettings| {
            let relaxed = queue.routing.relax.iter().map(|relax| &relax.skills);
            [&queue.skills].into_iter().chain(relaxed).map(|skills| number(&mut needs, canonical(skills))).collect()
        };
        let needs_of: Vec<Vec<Need>> = settings.queues.iter().map(&mut stages).collect();
        // Agents alike serve the same needs and are the same to every queue that grades.
        let mut rows: BTreeMap<(Vec<u64>, Vec<u32>), Team> = BTreeMap::new();
        let mut team_of = Vec::new();
        for agent in &settings.agents {
            let mut row = Bits::new(1, needs.len());
            for (need, asked) in needs.iter().enumerate() {
                row.put(0, need, meets(&agent.skills, asked));
            }
            let grade = |(queue, needs): (&QueueSettings, &Vec<Need>)| {
                let serves = needs.iter().any(|&need| row.bits[need / 64] >> (need % 64) & 1 == 1);
                if serves && is_graded(queue) { grade(queue, &agent.skills) } else { 0 }
            };
            let grades = settings.queues.iter().zip(&needs_of).map(grade).collect();
            let next = rows.len();
            let team = *rows.entry((row.bits, grades)).or_insert(next);
            let at = agent.agent.index();
            team_of.resize(team_of.len().max(at + 1), None);
            team_of[at] = Some(team);
        }
        let mut serves = Bits::new(rows.len(), needs.len());
        let mut able = Bits::new(needs.len(), rows.len());
        let graded = |queue: &QueueSettings| if is_graded(queue) { vec![0; rows.len()] } else { Vec::new() };
        let mut grades: Vec<Vec<u32>> = settings.queues.iter().map(graded).collect();
        for ((row, own), &team) in &rows {
            for need in common(row, row) {
                serves.put(team, need, true);
                able.put(need, team, true);
            }
            for (by_team, &grade) in grades.iter_mut().zip(own).filter(|(by_team, _)| !by_team.is_empty()) {
                by_team[team] = grade;
            }
        }
        Skills { needs: needs.len(), teams: rows.len(), needs_of, grades, team_of, serves, able }
    }

    /// What `queue` asks for at first; `None` when there is no such queue.
    pub(super) fn need_of(&self, queue: QueueId) -> Option<Need> {
        self.needs_of(queue).first().copied()
    }

    /// What `queue` asks for, by stage of waiting; nothing when there is no such queue.
    pub(super) fn needs_of(&self, queue: QueueId) -> &[Need] {
        self.needs_of.get(queue.index()).map_or(&[], |needs| needs)
    }

    /// What each team is to `queue`: rank in the upper half, in the lower the distance (most fitting) or the chances
    /// (weighted). Empty when all are the same.
    pub(super) fn grades(&self, queue: QueueId) -> &[u32] {
        self.grades.get(queue.index()).map_or(&[], |grades| grades)
    }

    /// The team of `agent`; `None` when the settings do not list them.
    pub(super) fn team_of(&self, agent: AgentId) -> Option<Team> {
        self.team_of.get(agent.index()).copied().flatten()
    }

    /// The needs `team` can serve.
    pub(super) fn serves(&self, team: Team) -> &[u64] {
        self.serves.row(team)
    }

    /// The teams that can serve `need`.
    pub(super) fn able(&self, need: Need) -> &[u64] {
        self.able.row(need)
    }
}

/// Whether a queue tells one able agent from another by skills.
fn is_graded(queue: &QueueSettings) -> bool {
    !queue.routing.ranks.is_empty() || matches!(queue.routing.strategy, Strategy::MostFitting | Strategy::Weighted)
}

/// Rank in the upper half, what the strategy looks at in the lower.
pub(super) fn grade(queue: &QueueSettings, own: &[(SkillId, u8)]) -> u32 {
    let ranks = &queue.routing.ranks;
    let rank = ranks.iter().position(|asked| meets(own, asked)).unwrap_or(ranks.len()) as u32;
    let level =
        |skill| own.iter().filter(|(held, _)| *held == skill).map(|(_, level)| u32::from(*level)).max().unwrap_or(0);
    let fine = match queue.routing.strategy {
        // One level too few, which only a relaxed need lets in, is further off than all that are too many.
        Strategy::MostFitting => queue
            .skills
            .iter()
            .map(|&(skill, asked)| {
                let (level, asked) = (level(skill), u32::from(asked));
                if level >= asked { level - asked } else { 256 * (asked - level) }
            })
            .sum(),
        Strategy::Weighted => queue.skills.iter().map(|&(skill, _)| level(skill)).sum::<u32>().max(1),
        Strategy::LongestIdle
        | Strategy::LeastCalls
        | Strategy::LeastTalk
        | Strategy::RoundRobin
        | Strategy::TopDown
        | Strategy::RingAll => 0,
    };
    rank << 16 | fine.min(0xffff)
}

/// The same need written in one way: by skill, each once with the highest level asked for.
fn canonical(skills: &[(SkillId, u8)]) -> Vec<(SkillId, u8)> {
    let mut levels = BTreeMap::new();
    for &(skill, level) in skills {
        let asked = levels.entry(skill).or_insert(level);
        *asked = level.max(*asked);
    }
    levels.into_iter().collect()
}

fn number(needs: &mut Vec<Vec<(SkillId, u8)>>, need: Vec<(SkillId, u8)>) -> Need {
    needs.iter().position(|known| *known == need).unwrap_or_else(|| {
        needs.push(need);
        needs.len() - 1
    })
}

/// Whether `skills` hold every one asked for, each at the level asked for or above.
pub fn meets(skills: &[(SkillId, u8)], asked: &[(SkillId, u8)]) -> bool {
    asked.iter().all(|(skill, level)| skills.iter().any(|(own, has)| own == skill && has >= level))
}

#[cfg(test)]
mod tests {
    use super::super::event::AgentSettings;
    use super::super::tests::queue;
    use super::*;

    fn need(skills: &[(u8, u8)]) -> Vec<(SkillId, u8)> {
        skills.iter().map(|&(skill, level)| (SkillId(skill), level)).collect()
    }

    #[test]
    fn a_skill_counts_at_its_level_or_above_and_all_are_asked_for() {
        for (has, asked, able) in [
            (&[(3, 5)][..], &[(3, 5)][..], true),
            (&[(3, 6)], &[(3, 5)], true),
            (&[(3, 4)], &[(3, 5)], false),
            (&[(3, 9)], &[(3, 1), (4, 1)], false),
            (&[(3, 9), (4, 1)], &[(4, 1), (3, 1)], true),
            (&[], &[], true),
            (&[(1, 9)], &[], true),
        ] {
            assert_eq!(meets(&need(has), &need(asked)), able, "{has:?} for {asked:?}");
        }
    }

    #[test]
    fn equal_needs_and_equal_abilities_are_one() {
        let mut settings = Settings::default();
        for skills in [&[(1, 2), (2, 1)][..], &[(2, 1), (1, 2), (1, 1)], &[(1, 3)]] {
            settings.queues.push(queue("q", &need(skills)));
        }
        for (agent, skills) in [(7, &[(1, 9), (2, 9)][..]), (3, &[(1, 9), (2, 8)]), (5, &[(1, 2)])] {
            settings.agents.push(AgentSettings { agent: AgentId(agent), skills: need(skills) });
        }
        let skills = Skills::of(&settings);
        assert_eq!((skills.needs, skills.teams), (2, 2));
        assert_eq!(skills.need_of(QueueId(0)), skills.need_of(QueueId(1)));
        assert_ne!(skills.need_of(QueueId(0)), skills.need_of(QueueId(2)));
        assert_eq!(skills.need_of(QueueId(3)), None);
        assert_eq!(skills.team_of(AgentId(7)), skills.team_of(AgentId(3)));
        assert_eq!((skills.team_of(AgentId(4)), skills.team_of(AgentId(99))), (None, None));
        let team = skills.team_of(AgentId(5)).unwrap();
        assert_eq!(common(skills.serves(team), &[u64::MAX]).count(), 0);
    }

    #[test]
    fn rows_of_more_than_64_columns_meet_in_order() {
        let mut bits = Bits::new(2, 130);
        for column in [0, 63, 64, 129] {
            bits.put(0, column, true);
            bits.put(1, column, column != 63);
        }
        assert_eq!(common(bits.row(0), bits.row(1)).collect::<Vec<_>>(), [0, 64, 129]);
    }
}
