//! One TOML file: its text, its places, and reading it with every mistake told.
//!
//! Serde stops at the first mistake. Here the entry at fault is taken out of the parsed tree and reading begins again,
//! until what is left can be read: so one look shows all mistakes, and other files can be checked against the rest.

use super::problem::{Problem, nearest, suggest};
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A file's text.
pub(super) struct Source {
    /// As it is shown in problems.
    pub path: PathBuf,
    text: String,
}

/// Entries taken out: the place of their table and their key (empty for an element of an array).
type Removed = Vec<(Range<usize>, String)>;

/// What could be read of a file.
pub(super) struct Reading<T> {
    /// `None` when nothing useful is left.
    pub value: Option<T>,
    /// Whether nothing was wrong: only then is a name not found in it really unknown.
    pub whole: bool,
}

impl Source {
    /// Reads the file's text; `cure` is told when there is none.
    pub fn open(path: &Path, cure: &str, problems: &mut Vec<Problem>) -> Option<Source> {
        match std::fs::read_to_string(path) {
            Ok(text) => Some(Source { path: path.into(), text }),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                problems.push(Problem { path: path.into(), at: None, message, cure: cure.into() });
                None
            }
        }
    }

    /// A problem at a place of this file.
    pub fn problem(&self, span: &Range<usize>, message: impl Into<String>, cure: impl Into<String>) -> Problem {
        let before = &self.text[..span.start.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Problem { path: self.path.clone(), at: Some((line, column)), message: message.into(), cure: cure.into() }
    }

    /// Reads the file as a `T`.
    pub fn read<T: DeserializeOwned>(&self, problems: &mut Vec<Problem>) -> Reading<T> {
        let (mut tree, syntax) = DeTable::parse_recoverable(&self.text);
        if !syntax.is_empty() {
            problems.extend(syntax.iter().map(|error| self.syntax_problem(error)));
            return Reading { value: None, whole: false };
        }
        let mut removed = Removed::new();
        loop {
            let error = match T::deserialize(toml::Deserializer::from(tree.clone())) {
                Ok(value) => {
                    return Reading { value: Some(value), whole: removed.is_empty() };
                }
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            // What we took out ourselves is not missing, nor what stood there misspelt: that has been told.
            let gone =
                |key: &str| removed.iter().any(|(table, other)| *table == span && nearest(other, [key]).is_some());
            let ours = missing(error.message()).is_some_and(gone);
            if !ours {
                problems.push(self.schema_problem(error.message(), &span));
            }
            let root = tree.span();
            if !prune_table(tree.get_mut(), &root, &span, &mut removed) {
                return Reading { value: None, whole: false };
            }
        }
    }

    fn syntax_problem(&self, error: &toml::de::Error) -> Problem {
        self.problem(
            &error.span().unwrap_or(0..0),
            error.message(),
            "write it as TOML wants it: https://toml.io/en/v1.0.0",
        )
    }

    /// Serde's words in ours.
    fn schema_problem(&self, message: &str, span: &Range<usize>) -> Problem {
        let mut names = message.split('`').skip(1).step_by(2);
        if let Some(key) = missing(message) {
            return self.problem(span, format!("key `{key}` is missing"), format!("add {key} = …"));
        }
        for (start, word) in [("unknown field", "key"), ("unknown variant", "value")] {
            if message.starts_with(start) {
                let name = names.next().unwrap_or_default();
                return self.problem(span, format!("unknown {word} `{name}`"), suggest(name, names));
            }
        }
        match message.split_once(", expected ") {
            Some((wrong, expected)) => self.problem(span, wrong, format!("write {expected}")),
            None => self.problem(span, message, "see the comments in the shipped file"),
        }
    }
}

fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Takes out the innermost entry that holds `span`, and notes table and key.
fn prune_table(table: &mut DeTable<'_>, own: &Range<usize>, span: &Range<usize>, removed: &mut Removed) -> bool {
    let named = table.keys().find(|key| key.span() == *span).cloned();
    if named.is_none() && table.iter_mut().any(|(_, value)| prune_value(value, span, removed)) {
        return true;
    }
    let holding = || table.iter().find(|(_, value)| holds(&value.span(), span)).map(|(key, _)| key.clone());
    let Some(key) = named.or_else(holding) else {
        return false;
    };
    table.remove(&key);
    removed.push((own.clone(), key.into_inner().into()));
    true
}

fn prune_value(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, removed: &mut Removed) -> bool {
    let own = value.span();
    match value.get_mut() {
        DeValue::Table(table) => prune_table(table, &own, span, removed),
        DeValue::Array(array) => {
            if array.iter_mut().any(|element| prune_value(element, span, removed)) {
                return true;
            }
            let before = array.len();
            let mut rest = DeArray::new();
            array.iter().filter(|element| !holds(&element.span(), span)).for_each(|element| rest.push(element.clone()));
            *array = rest;
            let shrunk = array.len() < before;
            if shrunk {
                removed.push((own, String::new()));
            }
            shrunk
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            false
        }
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// A file whose meaning is being checked.
pub(super) struct Check<'a> {
    /// The file.
    pub source: &'a Source,
    /// Where its mistakes go.
    pub problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// Notes a mistake.
    pub fn wrong(&mut self, span: &Range<usize>, message: impl Into<String>, cure: impl Into<String>) {
        self.problems.push(self.source.problem(span, message, cure));
    }

    /// The text as a `T`, or a mistake.
    pub fn parse<T: FromStr<Err: Display>>(&mut self, text: &Spanned<String>, what: &str, cure: &str) -> Option<T> {
        text.get_ref()
            .parse()
            .map_err(|error| self.wrong(&text.span(), format!("\"{}\" is no {what}: {error}", text.get_ref()), cure))
            .ok()
    }

    /// The number, or `default` when there is none or it is out of bounds (which is a mistake).
    pub fn bounded(&mut self, count: Option<&Spanned<u64>>, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let Some(count) = count else { return default };
        if bounds.contains(count.get_ref()) {
            return *count.get_ref();
        }
        let (min, max) = bounds.into_inner();
        let message = format!("{} is out of bounds", count.get_ref());
        self.wrong(&count.span(), message, format!("write a number from {min} to {max}"));
        default
    }

    /// The first line of a file or of an environment variable: `what` is a secret, which is never repeated. `None` when
    /// neither is named, or when it is a mistake, which has been told.
    pub fn secret(
        &mut self,
        root: &Path,
        (file, variable): (&Option<Spanned<String>>, &Option<Spanned<String>>),
        (what, cure): (&str, &str),
    ) -> Option<Box<str>> {
        let (place, found) = match (file, variable) {
            (Some(file), None) => {
                let text = std::fs::read_to_string(root.join(file.get_ref()));
                (file, text.map_err(|error| format!("\"{}\" cannot be read: {error}", file.get_ref())))
            }
            (None, Some(name)) => {
                let text = std::env::var(name.get_ref());
                (name, text.map_err(|_| format!("the environment has no {}", name.get_ref())))
            }
            (Some(both), Some(_)) => (both, Err(format!("two {what}s"))),
            (None, None) => return None,
        };
        let secret = found.and_then(|text| match text.lines().next().unwrap_or_default().trim() {
            "" => Err(format!("an empty {what}")),
            secret => Ok(secret.into()),
        });
        secret.map_err(|message: String| self.wrong(&place.span(), message, cure)).ok()
    }

    /// The same in seconds.
    pub fn seconds(&mut self, count: Option<&Spanned<u64>>, default: u64, bounds: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.bounded(count, default, bounds))
    }
}

/// The files of a folder with this ending, in order of names: path and name without the ending.
pub(super) fn files(folder: &Path, ending: &str) -> std::io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == ending)
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            let name = name.to_owned();
            found.push((path, name));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        head: Head,
        #[serde(default)]
        row: Vec<Row>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Head {
        name: String,
        size: Option<u8>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        id: u8,
    }

    fn read(text: &str) -> (Reading<File>, Vec<String>) {
        let source = Source { path: "f".into(), text: text.into() };
        let mut problems = Vec::new();
        let reading = source.read(&mut problems);
        let told = problems.iter().map(|p| format!("{}:{} {}", p.at.unwrap().0, p.at.unwrap().1, p.message)).collect();
        (reading, told)
    }

    #[test]
    fn every_mistake_of_a_file_is_told_and_the_rest_is_read() {
        let text =
            "[head]\nname = 'n'\nsiz = 1\nsize = 'x'\n[[row]]\nid = 1\n[[row]]\nid = 'b'\n[[row]]\nid = 900\n[[row]]\n";
        let (reading, told) = read(text);
        let expected = [
            "3:1 unknown key `siz`",
            "4:8 invalid type: string \"x\"",
            "8:6 invalid type: string \"b\"",
            "10:6 invalid value: integer `900`",
            "11:1 key `id` is missing",
        ];
        let mut told = told;
        told.sort_by_key(|line| line.split(':').next().unwrap().parse::<u32>().unwrap());
        assert_eq!(told, expected);
        let file = reading.value.unwrap();
        assert_eq!((file.head.name.as_str(), file.head.size, reading.whole), ("n", None, false));
        assert_eq!(file.row.iter().map(|row| row.id).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_required_key_of_the_wrong_type_is_told_once() {
        let (reading, told) = read("[head]\nname = 5\n");
        assert_eq!(told, ["2:8 invalid type: integer `5`"]);
        assert!(reading.value.is_none());
    }

    #[test]
    fn a_missing_table_and_broken_syntax_leave_nothing() {
        assert_eq!(read("").1, ["1:1 key `head` is missing"]);
        assert_eq!(read("[head]\nname = 'n'\nname = 'm'\n[x\n").1.len(), 2);
        assert_eq!(read("hed = 1\n[head]\nname = 'n'").1, ["1:1 unknown key `hed`"]);
        assert!(read("[head]\nname = 'n'").0.whole);
    }

    #[test]
    fn columns_count_characters() {
        let (_, told) = read("head = { name = '综合', '大' = 1 }");
        assert_eq!(told, ["1:23 unknown key `大`"]);
    }

    /// Whatever is typed into a shipped file, reading ends, and each problem has a place.
    #[test]
    fn mutilated_files_are_read_to_the_end() {
        let mut mint = crate::base::Mint::new(0, [3, 14]);
        let files = [include_str!("../../jiesu.toml"), include_str!("../../sip-profiles/queues.toml")];
        for round in 0..400 {
            let mut text: Vec<char> =
                files[round % 2].chars().filter(|c| !c.is_ascii_lowercase() || round % 3 > 0).collect();
            for _ in 0..1 + mint.random() % 8 {
                let at = (mint.random() % text.len() as u64) as usize;
                let inserted = "[]{}=\"'\n,0x综.-"[..].chars().nth((mint.random() % 14) as usize);
                let gone = (mint.random() % 4) as usize;
                text.splice(at..(at + gone).min(text.len()), inserted);
            }
            let source = Source { path: "f".into(), text: text.into_iter().collect() };
            let mut problems = Vec::new();
            let whole = match round % 2 {
                0 => source.read::<crate::config::schema::Main>(&mut problems).whole,
                _ => source.read::<crate::config::schema::Queues>(&mut problems).whole,
            };
            assert_eq!(whole, problems.is_empty(), "round {round}: {problems:?}");
            assert!(problems.iter().all(|problem| problem.at.is_some()), "round {round}");
        }
    }
}
