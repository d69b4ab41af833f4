//! The explanation of one contact's routing: the segments that cover it, gone through again.
//!
//! Says so wherever it cannot know: a file that is gone, a gap, a part that differs. Never guesses over it.

use super::{Began, Listed, ReadError, Reader, list, sum};
use crate::acd::explain::{Decision, Replay};
use crate::base::{ContactId, Wall};
use crate::store::calls::CallRow;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use utoipa::ToSchema;

/// Segments read for one explanation: a day of them.
pub const SEGMENTS_MAX: usize = 150;
/// Bytes read for one explanation.
pub const BYTES_MAX: u64 = 1 << 30;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Whose routing.
    pub contact: ContactId,
    /// When the contact began.
    pub from: Wall,
    /// When it ended, or now.
    pub until: Wall,
}

/// By so much the queues may hear of an end later than the record tells.
const SLACK_MS: i64 = 2_000;

impl Asked {
    /// Of a call, by its record; one that lives is asked for until `now`.
    pub fn of_record(contact: ContactId, call: &CallRow, now: Wall) -> Asked {
        // The id bears the moment of its birth, as the record does, and may be the earlier.
        let born = i64::try_from(contact.0 >> 80).unwrap_or(i64::MAX);
        let until = call.ended.map_or(now, Wall);
        Asked { contact, from: Wall(call.offered.min(born)), until }
    }
}

/// How one contact was routed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Contact id.
    pub contact: String,
    /// Site code.
    pub site: String,
    /// In order of time.
    pub decisions: Vec<Decision>,
    /// Where the engine began anew while the contact lived: what it was told in the last moment before may be missing.
    pub breaks: Vec<Break>,
    /// From here on, in milliseconds since 1970, going through the inputs again gives other commands than were given:
    /// nothing later is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs_from: Option<i64>,
    /// Whether there were more decisions than are told.
    pub cut: bool,
}

/// The engine began anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Break {
    /// In milliseconds since 1970.
    pub at: i64,
    /// Why.
    pub why: BreakKind,
}

/// Why an engine began anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakKind {
    /// The process was started.
    Started,
    /// A step was cut short by a fault and the queues were mended.
    Mended,
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Too old, or never written.
    #[error("what the queues were told at that time is not kept (any more)")]
    NotKept,
    /// A file between others is gone.
    #[error("the segment {0:013}.seg, which the time of this contact needs, is gone")]
    Gone(u64),
    /// Inputs were lost.
    #[error(
        "what the queues were told from {since} (ms since 1970) on was partly lost: the disk was too slow or failed"
    )]
    Gap {
        /// Since when.
        since: i64,
    },
    /// Too long a contact.
    #[error("the time of this contact needs more than {SEGMENTS_MAX} segments or {BYTES_MAX} bytes")]
    TooLong,
    /// A segment cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// File name.
        file: String,
        /// Why.
        error: ReadError,
    },
    /// The folder cannot be read.
    #[error("the folder cannot be read: {0}")]
    System(#[from] io::Error),
}

/// Goes through what the site's queues were told while the contact lived. Reads up to [`BYTES_MAX`] from disk: seconds.
///
/// # Errors
/// [`ExplainError`].
pub fn explain(folder: &Path, site: &str, asked: Asked) -> Result<Explanation, ExplainError> {
    let segments = covering(folder, asked)?;
    let mut explanation = Explanation {
        contact: asked.contact.to_string(),
        site: site.into(),
        decisions: Vec::new(),
        breaks: Vec::new(),
        differs_from: None,
        cut: false,
    };
    let mut replay: Option<Replay> = None;
    let mut before: Option<(u64, bool)> = None;
    for segment in &segments {
        let unreadable = |error| unreadable(segment, error);
        let (mut reader, head) = match Reader::open(&segment.path) {
            Err(ReadError::Cut) => continue,
            read => read.map_err(unreadable)?,
        };
        follows(&head.began, before, asked)?;
        if head.at > asked.until {
            break;
        }
        if before.is_some()
            && let Some(why) = broken(head.began)
        {
            explanation.breaks.push(Break { at: head.at.0, why });
        }
        match &mut replay {
            Some(replay) => replay.go_on_from(head.acd, head.names),
            None => replay = Some(Replay::new(head.acd, head.names, asked.contact)),
        }
        let replay = replay.as_mut().expect("it was just begun");
        while let Some(step) = reader.step().map_err(unreadable)? {
            if step.now.wall.0 > asked.until.0.saturating_add(SLACK_MS) {
                break;
            }
            let at = step.now.wall;
            if sum(replay.step(step.now, step.event)) != step.said {
                explanation.differs_from = Some(at.0);
                break;
            }
        }
        before = Some((segment.number, reader.is_torn()));
        if explanation.differs_from.is_some() {
            break;
        }
    }
    let mut replay = replay.ok_or(ExplainError::NotKept)?;
    (explanation.decisions, explanation.cut) = replay.decisions();
    if let Some(at) = explanation.differs_from {
        // What the differing step is said to have decided was not decided.
        explanation.decisions.retain(|decision| decision.at < at);
    }
    Ok(explanation)
}

/// The segments from the one in which the contact began to the one behind its end, which says whether the end is whole.
fn covering(folder: &Path, asked: Asked) -> Result<Vec<Listed>, ExplainError> {
    let segments = list(folder)?;
    let number = |wall: Wall| u64::try_from(wall.0).unwrap_or_default();
    let first = segments.iter().rposition(|segment| segment.number <= number(asked.from));
    let first = first.ok_or(ExplainError::NotKept)?;
    let inside = segments[first + 1..].iter().take_while(|segment| segment.number <= number(asked.until)).count();
    let until = (first + inside + 2).min(segments.len());
    let covering = &segments[first..until];
    let bytes: u64 = covering.iter().map(|segment| segment.bytes).sum();
    if covering.len() > SEGMENTS_MAX || bytes > BYTES_MAX {
        return Err(ExplainError::TooLong);
    }
    Ok(covering.to_vec())
}

/// Whether a segment is the one behind `before`, a number and whether its end is torn.
fn follows(began: &Began, before: Option<(u64, bool)>, asked: Asked) -> Result<(), ExplainError> {
    match (*began, before) {
        (Began::Gap { since }, Some(_)) if since <= asked.until => Err(ExplainError::Gap { since: since.0 }),
        (Began::Behind(number), Some((before, _))) if number != before => Err(ExplainError::Gone(number)),
        (Began::Behind(number), Some((_, true))) => Err(ExplainError::Unreadable {
            file: format!("{number:013}.seg"),
            error: ReadError::System(io::Error::new(io::ErrorKind::UnexpectedEof, "its end is missing")),
        }),
        (Began::Gap { .. } | Began::Behind(_) | Began::Start | Began::Fault, _) => Ok(()),
    }
}

fn broken(began: Began) -> Option<BreakKind> {
    match began {
        Began::Start => Some(BreakKind::Started),
        Began::Fault => Some(BreakKind::Mended),
        Began::Behind(_) | Began::Gap { .. } => None,
    }
}

fn unreadable(segment: &Listed, error: ReadError) -> ExplainError {
    let file = segment.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ExplainError::Unreadable { file, error }
}
