//! The one access check: who may do what to which object, and whether they see telephone numbers.
//!
//! Owns the table of grants (the roles of a 12345 hotline; three-role separation of GB/T 22239: the administrator sees
//! no citizen, the auditor nothing but the audit). What is not in the table is refused. Pure: no request, no clock, no
//! state. Never decides by anything but the actor, the action and the object's site and owner.

use serde::{Deserialize, Serialize};

/// The role of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// 话务员.
    Agent,
    /// 班长.
    TeamLead,
    /// 质检.
    Qc,
    /// 派单员.
    Dispatcher,
    /// 承办单位.
    Handler,
    /// 专家座席.
    Expert,
    /// 分中心.
    SubCenter,
    /// 回访员.
    CallbackAgent,
    /// 督办.
    Supervisor,
    /// 管理员.
    Admin,
    /// 审计员.
    Auditor,
    /// 省级平台.
    Province,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// See the inside of the node.
    NodeRead,
    /// See which sources of SIP are banned.
    BanRead,
    /// Lift such a ban.
    BanLift,
    /// See the trunks.
    TrunkRead,
    /// See an agent's state.
    AgentRead,
    /// Set an agent's state.
    AgentSet,
    /// See a queue as it stands.
    QueueRead,
    /// See the modes of queues.
    ModeRead,
    /// Open or shut one by hand.
    ModeSet,
    /// See the figures of past calls.
    FiguresRead,
    /// See a live call.
    LiveRead,
    /// End a live call.
    CallHangUp,
    /// Call out, also the citizen of an order, whose number is not shown.
    CallDial,
    /// Bring somebody else into a talk.
    CallTransfer,
    /// See what targets' own systems could not be told.
    UndeliveredRead,
    /// Hear a live call, and whoever is in it, unheard; end any supervision.
    CallListen,
    /// Be heard by its agent alone.
    CallWhisper,
    /// Be heard by all in it.
    CallBarge,
    /// Take the agent's place.
    CallTakeOver,
    /// Take the agent out; the citizen is in the line again.
    CallRelease,
    /// Park the citizen.
    CallPark,
    /// Fetch a parked citizen; the object is whose phone is rung.
    CallPickUp,
    /// See call-backs and missed calls.
    CallbackRead,
    /// Ask for a call-back, or take one back.
    CallbackAsk,
    /// Follow the event stream; each object in it is checked by its own reading action.
    EventRead,
    /// See the record of a call.
    CallRead,
    /// See a work order.
    OrderRead,
    /// See or hear a recording.
    RecordingRead,
    /// See the audit.
    AuditRead,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Name; for an agent the agent's name.
    pub name: Box<str>,
    /// Role.
    pub role: Role,
    /// Code of the only site they have to do with; `None` for all.
    pub site: Option<Box<str>>,
}

/// What they ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// The node, which serves all sites.
    Node,
    /// Everything of a kind in the site with this code, or in all.
    All(Option<&'a str>),
    /// One thing.
    One {
        /// Code of its site.
        site: &'a str,
        /// The agent whose it is.
        owner: Option<&'a str>,
    },
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, so far.
    Granted(Grant),
    /// No, and they may know it.
    Refused,
    /// For them this does not exist.
    Absent,
}

/// How far a yes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To which objects.
    pub reach: Reach,
    /// What they see of citizens' numbers.
    pub numbers: Numbers,
}

/// To which objects a grant reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only to what belongs to the actor.
    Own,
    /// To the whole of the actor's sites.
    Site,
}

/// What is seen of citizens' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// All digits.
    Clear,
    /// Only the ends.
    Masked,
}

const OWN: Grant = Grant { reach: Reach::Own, numbers: Numbers::Clear };
const OWN_MASKED: Grant = Grant { reach: Reach::Own, numbers: Numbers::Masked };
const SITE: Grant = Grant { reach: Reach::Site, numbers: Numbers::Clear };
const SITE_MASKED: Grant = Grant { reach: Reach::Site, numbers: Numbers::Masked };

/// Every grant there is. Handlers and sub-centers have none yet: an order does not yet say whose it is.
const GRANTS: [(Role, Action, Grant); 81] = [
    (Role::Agent, Action::AgentRead, OWN),
    (Role::Agent, Action::AgentSet, OWN),
    (Role::Agent, Action::QueueRead, SITE),
    (Role::Agent, Action::ModeRead, SITE),
    (Role::Agent, Action::LiveRead, OWN),
    (Role::Agent, Action::CallHangUp, OWN),
    (Role::Agent, Action::CallDial, OWN),
    (Role::Agent, Action::CallTransfer, OWN),
    (Role::Agent, Action::CallPark, OWN),
    (Role::Agent, Action::CallPickUp, OWN),
    (Role::Agent, Action::EventRead, OWN),
    (Role::Agent, Action::CallRead, OWN_MASKED),
    (Role::Agent, Action::OrderRead, OWN_MASKED),
    (Role::TeamLead, Action::AgentRead, SITE),
    (Role::TeamLead, Action::AgentSet, SITE),
    (Role::TeamLead, Action::QueueRead, SITE),
    (Role::TeamLead, Action::ModeRead, SITE),
    (Role::TeamLead, Action::ModeSet, SITE),
    (Role::TeamLead, Action::FiguresRead, SITE),
    (Role::TeamLead, Action::TrunkRead, SITE),
    (Role::TeamLead, Action::LiveRead, SITE),
    (Role::TeamLead, Action::CallHangUp, SITE),
    (Role::TeamLead, Action::CallDial, SITE),
    (Role::TeamLead, Action::CallTransfer, SITE),
    (Role::TeamLead, Action::UndeliveredRead, SITE),
    (Role::TeamLead, Action::CallListen, SITE),
    (Role::TeamLead, Action::CallWhisper, SITE),
    (Role::TeamLead, Action::CallBarge, SITE),
    (Role::TeamLead, Action::CallTakeOver, SITE),
    (Role::TeamLead, Action::CallRelease, SITE),
    (Role::TeamLead, Action::CallPark, SITE),
    (Role::TeamLead, Action::CallPickUp, SITE),
    (Role::TeamLead, Action::CallbackRead, SITE),
    (Role::TeamLead, Action::CallbackAsk, SITE),
    (Role::TeamLead, Action::EventRead, SITE),
    (Role::TeamLead, Action::CallRead, SITE),
    (Role::TeamLead, Action::OrderRead, SITE),
    (Role::TeamLead, Action::RecordingRead, SITE),
    (Role::Qc, Action::FiguresRead, SITE),
    (Role::Qc, Action::CallRead, SITE_MASKED),
    (Role::Qc, Action::OrderRead, SITE_MASKED),
    (Role::Qc, Action::RecordingRead, SITE_MASKED),
    (Role::Dispatcher, Action::OrderRead, SITE),
    (Role::Expert, Action::AgentRead, OWN),
    (Role::Expert, Action::AgentSet, OWN),
    (Role::Expert, Action::LiveRead, OWN),
    (Role::Expert, Action::CallHangUp, OWN),
    (Role::Expert, Action::CallDial, OWN),
    (Role::Expert, Action::CallTransfer, OWN),
    (Role::Expert, Action::CallPark, OWN),
    (Role::Expert, Action::CallPickUp, OWN),
    (Role::Expert, Action::EventRead, OWN),
    (Role::CallbackAgent, Action::AgentRead, OWN),
    (Role::CallbackAgent, Action::AgentSet, OWN),
    (Role::CallbackAgent, Action::LiveRead, OWN_MASKED),
    (Role::CallbackAgent, Action::CallHangUp, OWN),
    (Role::CallbackAgent, Action::CallDial, OWN),
    (Role::CallbackAgent, Action::CallTransfer, OWN),
    (Role::CallbackAgent, Action::CallPark, OWN),
    (Role::CallbackAgent, Action::CallPickUp, OWN),
    (Role::CallbackAgent, Action::CallbackRead, SITE_MASKED),
    (Role::CallbackAgent, Action::CallbackAsk, SITE_MASKED),
    (Role::CallbackAgent, Action::EventRead, OWN_MASKED),
    (Role::Supervisor, Action::CallbackRead, SITE),
    (Role::Supervisor, Action::FiguresRead, SITE),
    (Role::Supervisor, Action::OrderRead, SITE),
    (Role::Admin, Action::NodeRead, SITE),
    (Role::Admin, Action::BanRead, SITE),
    (Role::Admin, Action::BanLift, SITE),
    (Role::Admin, Action::TrunkRead, SITE),
    (Role::Admin, Action::AgentRead, SITE),
    (Role::Admin, Action::QueueRead, SITE),
    (Role::Admin, Action::ModeRead, SITE),
    (Role::Admin, Action::UndeliveredRead, SITE),
    (Role::Admin, Action::FiguresRead, SITE),
    (Role::Admin, Action::EventRead, SITE),
    (Role::Auditor, Action::AuditRead, SITE),
    (Role::Province, Action::FiguresRead, SITE),
    (Role::Province, Action::CallRead, SITE_MASKED),
    (Role::Province, Action::OrderRead, SITE_MASKED),
    (Role::Province, Action::RecordingRead, SITE_MASKED),
];

/// Whether `actor` may do `action` to `object`.
///
/// A role without the grant is refused before anything is said about the object; another site's object is absent; what
/// belongs to somebody else in one's own site is refused.
pub fn may(actor: &Actor, action: Action, object: Object<'_>) -> Verdict {
    let row = GRANTS.iter().find(|(role, granted, _)| *role == actor.role && *granted == action);
    let Some(&(_, _, grant)) = row else {
        return Verdict::Refused;
    };
    let home = actor.site.as_deref();
    match (object, grant.reach) {
        (Object::Node, _) if home.is_some() => Verdict::Refused,
        (Object::All(site), _) if home.is_some() && home != site => Verdict::Absent,
        (Object::One { site, .. }, _) if home.is_some_and(|home| home != site) => Verdict::Absent,
        (Object::One { owner, .. }, Reach::Own) if owner != Some(&actor.name) => Verdict::Refused,
        (Object::Node | Object::All(_) | Object::One { .. }, Reach::Own | Reach::Site) => Verdict::Granted(grant),
    }
}

impl Role {
    /// The word of configuration and audit.
    pub fn word(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::TeamLead => "team_lead",
            Role::Qc => "qc",
            Role::Dispatcher => "dispatcher",
            Role::Handler => "handler",
            Role::Expert => "expert",
            Role::SubCenter => "sub_center",
            Role::CallbackAgent => "callback_agent",
            Role::Supervisor => "supervisor",
            Role::Admin => "admin",
            Role::Auditor => "auditor",
            Role::Province => "province",
        }
    }
}

impl Action {
    /// The word of the audit.
    pub fn word(self) -> &'static str {
        match self {
            Action::NodeRead => "node.read",
            Action::BanRead => "ban.read",
            Action::BanLift => "ban.lift",
            Action::TrunkRead => "trunk.read",
            Action::AgentRead => "agent.read",
            Action::AgentSet => "agent.set",
            Action::QueueRead => "queue.read",
            Action::ModeRead => "mode.read",
            Action::ModeSet => "mode.set",
            Action::FiguresRead => "figures.read",
            Action::LiveRead => "live.read",
            Action::CallHangUp => "call.hang_up",
            Action::CallDial => "call.dial",
            Action::CallTransfer => "call.transfer",
            Action::UndeliveredRead => "undelivered.read",
            Action::CallListen => "call.listen",
            Action::CallWhisper => "call.whisper",
            Action::CallBarge => "call.barge",
            Action::CallTakeOver => "call.take_over",
            Action::CallRelease => "call.release",
            Action::CallPark => "call.park",
            Action::CallPickUp => "call.pick_up",
            Action::CallbackRead => "callback.read",
            Action::CallbackAsk => "callback.ask",
            Action::EventRead => "event.read",
            Action::CallRead => "call.read",
            Action::OrderRead => "order.read",
            Action::RecordingRead => "recording.read",
            Action::AuditRead => "audit.read",
        }
    }
}

impl Numbers {
    /// The number as the actor may see it.
    pub fn show(self, number: &str) -> String {
        match self {
            Numbers::Clear => number.to_owned(),
            Numbers::Masked => crate::base::number::mask(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIONS: [Action; 29] = [
        Action::UndeliveredRead,
        Action::ModeRead,
        Action::ModeSet,
        Action::NodeRead,
        Action::BanRead,
        Action::BanLift,
        Action::TrunkRead,
        Action::AgentRead,
        Action::AgentSet,
        Action::QueueRead,
        Action::FiguresRead,
        Action::LiveRead,
        Action::CallHangUp,
        Action::CallDial,
        Action::CallTransfer,
        Action::CallListen,
        Action::CallWhisper,
        Action::CallBarge,
        Action::CallTakeOver,
        Action::CallRelease,
        Action::CallPark,
        Action::CallPickUp,
        Action::CallbackRead,
        Action::CallbackAsk,
        Action::EventRead,
        Action::CallRead,
        Action::OrderRead,
        Action::RecordingRead,
        Action::AuditRead,
    ];

    /// By role, one letter for each of `ACTIONS`: `.` never, `o` own, `m` own with masked numbers, `S` site, `M` site
    /// with masked numbers.
    const EXPECTED: [(Role, &str); 12] = [
        (Role::Agent, ".S.....ooS.oooo.....oo..omm.."),
        (Role::TeamLead, "SSS...SSSSSSSSSSSSSSSSSSSSSS."),
        (Role::Qc, "..........S..............MMM."),
        (Role::Dispatcher, "..........................S.."),
        (Role::Handler, "............................."),
        (Role::Expert, ".......oo..oooo.....oo..o...."),
        (Role::SubCenter, "............................."),
        (Role::CallbackAgent, ".......oo..mooo.....ooMMm...."),
        (Role::Supervisor, "..........S...........S...S.."),
        (Role::Admin, "SS.SSSSS.SS.............S...."),
        (Role::Auditor, "............................S"),
        (Role::Province, "..........S..............MMM."),
    ];

    fn actor(role: Role, site: Option<&str>) -> Actor {
        Actor { name: "1001".into(), role, site: site.map(Into::into) }
    }

    fn cases() -> impl Iterator<Item = (Role, Action, char)> {
        EXPECTED.into_iter().flat_map(|(role, row)| {
            assert_eq!(row.len(), ACTIONS.len(), "{role:?}");
            ACTIONS.into_iter().zip(row.chars()).map(move |(action, letter)| (role, action, letter))
        })
    }

    fn grant(letter: char) -> Verdict {
        match letter {
            'o' => Verdict::Granted(OWN),
            'm' => Verdict::Granted(OWN_MASKED),
            'S' => Verdict::Granted(SITE),
            'M' => Verdict::Granted(SITE_MASKED),
            _ => Verdict::Refused,
        }
    }

    #[test]
    fn every_role_by_every_action() {
        for (role, action, letter) in cases() {
            let mine = Object::One { site: "fz", owner: Some("1001") };
            let others = Object::One { site: "fz", owner: Some("1002") };
            let nobodys = Object::One { site: "fz", owner: None };
            let whole = grant(letter);
            let not_mine = if letter.is_lowercase() { Verdict::Refused } else { whole };
            for site in [Some("fz"), None] {
                let actor = actor(role, site);
                assert_eq!(may(&actor, action, mine), whole, "{role:?} {action:?}");
                assert_eq!(may(&actor, action, others), not_mine, "{role:?} {action:?}");
                assert_eq!(may(&actor, action, nobodys), not_mine, "{role:?} {action:?}");
                assert_eq!(may(&actor, action, Object::All(Some("fz"))), whole, "{role:?} {action:?}");
            }
        }
    }

    #[test]
    fn another_site_does_not_exist_and_a_refused_role_learns_not_even_that() {
        for (role, action, letter) in cases() {
            let absent = if letter == '.' { Verdict::Refused } else { Verdict::Absent };
            let actor = actor(role, Some("fz"));
            let foreign = Object::One { site: "ly", owner: Some("1001") };
            assert_eq!(may(&actor, action, foreign), absent, "{role:?} {action:?}");
            assert_eq!(may(&actor, action, Object::All(Some("ly"))), absent, "{role:?} {action:?}");
            assert_eq!(may(&actor, action, Object::All(None)), absent, "{role:?} {action:?}");
        }
    }

    #[test]
    fn the_whole_node_and_all_sites_are_for_those_bound_to_none() {
        for (role, action, letter) in cases() {
            assert_eq!(may(&actor(role, None), action, Object::Node), grant(letter), "{role:?} {action:?}");
            assert_eq!(may(&actor(role, None), action, Object::All(None)), grant(letter), "{role:?} {action:?}");
            assert_eq!(may(&actor(role, Some("fz")), action, Object::Node), Verdict::Refused, "{role:?} {action:?}");
        }
    }

    #[test]
    fn the_table_says_each_thing_once() {
        let mut seen = std::collections::BTreeSet::new();
        assert!(GRANTS.iter().all(|(role, action, _)| seen.insert((*role, *action))));
    }

    #[test]
    fn roles_are_written_as_they_are_read() {
        for (role, _) in EXPECTED {
            assert_eq!(serde_json::to_value(role).unwrap(), role.word());
        }
    }
}
