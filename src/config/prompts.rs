//! `ivr-flows/prompts/*.wav`: what there is to play, checked by their headers; samples are read on demand.

use super::problem::{Problem, suggest};
use super::schema;
use super::sound::{self, RATE, SoundError};
use super::source::{Check, files};
use crate::base::PromptId;
use crate::ivr::flow::PROMPT_S_MAX;
use std::path::{Path, PathBuf};

/// One file; its place in [`Prompts`] is its [`PromptId`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prompt {
    pub name: Box<str>,
    pub path: PathBuf,
    /// 0 when the file could not be read.
    samples: u32,
}

/// All prompts, in order of names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prompts {
    folder: PathBuf,
    pub list: Vec<Prompt>,
}

/// Lists the folder and checks each file's header.
pub(super) fn scan(folder: &Path, problems: &mut Vec<Problem>) -> Prompts {
    let found = files(folder, "wav").unwrap_or_else(|error| {
        let message = format!("cannot be read: {error}");
        let cure = "make the folder and put WAV files into it, or run `make prompts`".into();
        problems.push(Problem { path: folder.into(), at: None, message, cure });
        Vec::new()
    });
    let mut list = Vec::new();
    for (path, name) in found {
        let samples = header(&path).unwrap_or_else(|problem| {
            problems.push(problem);
            0
        });
        list.push(Prompt { name: name.into(), path, samples });
    }
    Prompts { folder: folder.into(), list }
}

/// Tells how many samples a prompt will have, by its header.
fn header(path: &Path) -> Result<u32, Problem> {
    let samples = sound::length(path).map_err(|error| unfit(path, &error))?;
    Ok(u32::try_from(samples).unwrap_or(u32::MAX))
}

fn unfit(path: &Path, error: &SoundError) -> Problem {
    let cure = match error {
        SoundError::Empty => "record it again, or remove it".into(),
        SoundError::Unreadable(_) => "make it readable for the user that the engine runs as".into(),
        SoundError::Foreign(_) | SoundError::Rate(_) | SoundError::Channels(_) => convert(path),
    };
    Problem { path: path.into(), at: None, message: error.to_string(), cure }
}

fn convert(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().display();
    format!("convert it: sox {name} -r {RATE} -c 1 -b 16 -e signed-integer new.wav && mv new.wav {name}")
}

impl Prompts {
    /// The prompt of this name.
    pub fn find(&self, name: &str) -> Option<PromptId> {
        let place = self.list.binary_search_by(|prompt| (*prompt.name).cmp(name)).ok()?;
        u32::try_from(place).ok().map(PromptId)
    }

    /// The prompt named there; an unknown one is a mistake.
    pub fn of(&self, check: &mut Check<'_>, name: &schema::Text) -> Option<PromptId> {
        let found = self.find(name.get_ref());
        if found.is_none() {
            let message = format!("unknown prompt \"{}\"", name.get_ref());
            check.wrong(&name.span(), message, self.cure(name.get_ref()));
        }
        found
    }

    /// What to do about a prompt that is not there.
    pub fn cure(&self, name: &str) -> String {
        if self.folder.join(name).with_extension("txt").exists() {
            return format!("its text is there, its sound is not: run `make prompts` to make {name}.wav");
        }
        let known = suggest(name, self.list.iter().map(|prompt| &*prompt.name));
        format!("{known}; or put {name}.wav into {}", self.folder.display())
    }

    /// Spoken prompts have a longest length, music has none: a flow waits for their end.
    pub fn check_lengths(&self, music: &[PromptId], problems: &mut Vec<Problem>) {
        let longest = PROMPT_S_MAX * u64::from(RATE);
        for (prompt, id) in self.list.iter().zip(0..) {
            if u64::from(prompt.samples) > longest && !music.contains(&PromptId(id)) {
                let message = format!("is longer than {PROMPT_S_MAX} s");
                let cure = "shorten it; only a queue's music may be longer".into();
                problems.push(Problem { path: prompt.path.clone(), at: None, message, cure });
            }
        }
    }
}

/// Reads the samples of a prompt.
pub(super) fn load(path: &Path) -> Result<Vec<i16>, Problem> {
    sound::load(path).map_err(|error| unfit(path, &error))
}
