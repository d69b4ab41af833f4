//! What the files say, item by item and key by key, so that two readings can be told apart in the words of who wrote them.
//!
//! Compares what is written: a default written out is a difference, though nothing else behaves otherwise. Keeps a digest of
//! each value, never a value: a key may hold a token. Files that a key names count with what they hold.

use super::source::files;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use toml::{Table, Value};

/// Keys that name a file whose content is read with the configuration.
const FILES: [&str; 6] = ["token_file", "password_file", "webhook_secret_file", "certificate", "key", "authorities"];

/// What an item of the configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A table of `jiesu.toml`.
    Table,
    /// A `[[site]]`, by code.
    Site,
    /// An `[[api.token]]`, by actor.
    Token,
    /// A file of `sip-profiles/listeners`.
    Listener,
    /// A file of `sip-profiles/trunks`.
    Trunk,
    /// A `[[rule]]` of `sip-profiles/dialling.toml`, by site and numbers.
    Rule,
    /// A `[[target]]` of `sip-profiles/targets`, by site and name.
    Target,
    /// A `[[queue]]`, by site and name.
    Queue,
    /// A `[[pause]]`, by site and reason.
    Pause,
    /// A `[[keys]]`, by site.
    Keys,
    /// A `[[mode]]`, by site and name.
    Mode,
    /// A `[[number]]`, as written.
    Number,
    /// A file of `ivr-flows`.
    Flow,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Table => "table",
            Kind::Site => "site",
            Kind::Token => "token of",
            Kind::Listener => "listener",
            Kind::Trunk => "trunk",
            Kind::Rule => "dialling rule",
            Kind::Target => "target",
            Kind::Queue => "queue",
            Kind::Mode => "mode",
            Kind::Pause => "pause",
            Kind::Keys => "keys of",
            Kind::Number => "number",
            Kind::Flow => "flow",
        }
    }
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// These keys are new, gone or have another value.
    Changed(Vec<String>),
    /// It stands at another place among those of its kind, where the first that fits decides.
    Moved,
}

/// One item that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub became: Became,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.kind.word(), self.name)?;
        match &self.became {
            Became::Added => f.write_str("added"),
            Became::Removed => f.write_str("removed"),
            Became::Changed(keys) => write!(f, "changed {}", keys.join(", ")),
            Became::Moved => f.write_str("moved"),
        }
    }
}

type Keys = BTreeMap<String, [u8; 32]>;

/// All items of one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    items: BTreeMap<(Kind, String), Keys>,
    /// Names of the dialling rules in their order: the first that fits decides.
    rules: Vec<String>,
}

impl Outline {
    /// Reads the files once more. What cannot be read is left out: the reading that checks has told it.
    pub(super) fn read(path: &Path, root: &Path) -> Outline {
        let mut outline = Outline::default();
        let (sip, ivr) = (root.join("sip-profiles"), root.join("ivr-flows"));
        outline.main(root, table(path));
        for (kind, folder) in [(Kind::Listener, sip.join("listeners")), (Kind::Trunk, sip.join("trunks"))] {
            for (path, name) in files(&folder, "toml").unwrap_or_default() {
                outline.add(root, kind, name, &table(&path));
            }
        }
        outline.rows(root, (Kind::Rule, "rule"), table(&sip.join("dialling.toml")), |row| {
            format!("{} {}", text(row, "site"), row.get("numbers").map(plain).unwrap_or_default())
        });
        let named = |row: &Table| format!("{}/{}", text(row, "site"), text(row, "name"));
        for (path, _) in files(&sip.join("targets"), "toml").unwrap_or_default() {
            outline.rows(root, (Kind::Target, "target"), table(&path), named);
        }
        for kind in [(Kind::Queue, "queue"), (Kind::Mode, "mode")] {
            outline.rows(root, kind, table(&sip.join("queues.toml")), named);
        }
        outline.rows(root, (Kind::Pause, "pause"), table(&sip.join("queues.toml")), |row| {
            format!("{}/{}", text(row, "site"), text(row, "reason"))
        });
        outline.rows(root, (Kind::Keys, "keys"), table(&sip.join("queues.toml")), |row| text(row, "site"));
        for (path, name) in files(&ivr, "toml").unwrap_or_default() {
            match name.as_str() {
                "numbers" => outline.rows(root, (Kind::Number, "number"), table(&path), |row| text(row, "number")),
                _ => outline.add(root, Kind::Flow, name, &table(&path)),
            }
        }
        outline
    }

    fn main(&mut self, root: &Path, mut main: Table) {
        if let Some(Value::Table(api)) = main.get_mut("api") {
            let mut tokens = Table::new();
            tokens.extend(api.remove("token").map(|rows| ("token".into(), rows)));
            self.rows(root, (Kind::Token, "token"), tokens, |row| text(row, "actor"));
        }
        let mut sites = Table::new();
        sites.extend(main.remove("site").map(|rows| ("site".into(), rows)));
        self.rows(root, (Kind::Site, "site"), sites, |row| text(row, "code"));
        for (name, value) in &main {
            if let Value::Table(table) = value {
                self.add(root, Kind::Table, format!("[{name}]"), table);
            }
        }
    }

    fn rows(&mut self, root: &Path, (kind, key): (Kind, &str), mut file: Table, named: impl Fn(&Table) -> String) {
        let Some(Value::Array(rows)) = file.remove(key) else { return };
        for row in rows {
            if let Value::Table(row) = row {
                self.add(root, kind, named(&row), &row);
            }
        }
    }

    fn add(&mut self, root: &Path, kind: Kind, name: String, table: &Table) {
        // Rules and tokens may share a name: their place among those tells them apart.
        let count = (2..).map(|count| format!("{name} ({count})"));
        let mut names = std::iter::once(name.clone()).chain(count);
        let free = names.find(|name| !self.items.contains_key(&(kind, name.clone())));
        let name = free.expect("numbers do not end");
        let mut keys = Keys::new();
        flatten(root, "", table, &mut keys);
        if kind == Kind::Rule {
            self.rules.push(name.clone());
        }
        self.items.insert((kind, name), keys);
    }

    /// What `new` has otherwise, by kind and name.
    pub(super) fn changes(&self, new: &Outline) -> Vec<Change> {
        let moved = self.moved_rules(new);
        let names: BTreeSet<&(Kind, String)> = self.items.keys().chain(new.items.keys()).collect();
        let became = |item: &(Kind, String)| match (self.items.get(item), new.items.get(item)) {
            (None, Some(_)) => Some(Became::Added),
            (Some(_), None) => Some(Became::Removed),
            (Some(before), Some(after)) if before != after => {
                let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                let differs = |key: &&String| before.get(*key) != after.get(*key);
                Some(Became::Changed(keys.into_iter().filter(differs).cloned().collect()))
            }
            (Some(_), Some(_)) => (item.0 == Kind::Rule && moved.contains(&item.1)).then_some(Became::Moved),
            (None, None) => None,
        };
        let change = |item: &(Kind, String)| Some(Change { kind: item.0, name: item.1.clone(), became: became(item)? });
        names.into_iter().filter_map(change).collect()
    }

    /// Rules of both that are not in the same order.
    fn moved_rules<'a>(&self, new: &'a Outline) -> BTreeSet<&'a String> {
        let kept = self.rules.iter().filter(|name| new.rules.contains(name));
        let after = new.rules.iter().filter(|name| self.rules.contains(name));
        kept.zip(after).filter(|(before, after)| before != after).map(|(_, after)| after).collect()
    }
}

fn table(path: &Path) -> Table {
    std::fs::read_to_string(path).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn text(row: &Table, key: &str) -> String {
    row.get(key).map(plain).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            value.to_string()
        }
    }
}

fn flatten(root: &Path, before: &str, table: &Table, keys: &mut Keys) {
    for (key, value) in table {
        let name = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
        if let Value::Table(inner) = value {
            flatten(root, &name, inner, keys);
            // An empty one says something too: a node of a flow may have no keys.
            if !inner.is_empty() {
                continue;
            }
        }
        let mut digest = Sha256::new_with_prefix(value.to_string());
        if let (true, Value::String(file)) = (FILES.contains(&key.as_str()), value) {
            digest.update(std::fs::read(root.join(file)).unwrap_or_default());
        }
        keys.insert(name, digest.finalize().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn told(before: &Outline, after: &Outline) -> Vec<String> {
        before.changes(after).iter().map(Change::to_string).collect()
    }

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(root: &Path) -> Outline {
        Outline::read(&root.join("jiesu.toml"), root)
    }

    #[test]
    fn items_are_told_by_name_and_keys_by_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let queue = |name: &str, rest: &str| format!("[[queue]]\nsite = \"f\"\nname = \"{name}\"\n{rest}\n");
        write(root, "sip-profiles/queues.toml", &(queue("a", "ageing_s = 10\nskills = { x = 1 }") + &queue("b", "")));
        write(root, "sip-profiles/trunks/old.toml", "sources = [\"192.0.2.1\"]");
        write(root, "sip-profiles/listeners/udp.toml", "listen = \"127.0.0.1:5060\"");
        write(root, "sip-profiles/targets/all.toml", "[[target]]\nsite = \"f\"\nname = \"t\"\nnumbers = [\"1\"]");
        write(root, "ivr-flows/numbers.toml", "[[number]]\nnumber = \"12345\"\nflow = \"a\"");
        write(root, "ivr-flows/a.toml", "start = \"x\"\n[queue.x]\nqueue = \"a\"");
        let before = read(root);
        assert_eq!(told(&before, &read(root)), Vec::<String>::new());
        // The order of queues does not matter: calls follow their queue by name.
        let a = queue("a", "ageing_s = 20\nskills = { x = 2 }\nwrap_up_s = 5");
        write(root, "sip-profiles/queues.toml", &(queue("c", "") + &a));
        fs::rename(root.join("sip-profiles/trunks/old.toml"), root.join("sip-profiles/trunks/new.toml")).unwrap();
        write(root, "sip-profiles/listeners/udp.toml", "listen = \"127.0.0.1:5062\"");
        write(root, "sip-profiles/targets/all.toml", "[[target]]\nsite = \"f\"\nname = \"t\"\nnumbers = [\"2\"]");
        write(root, "ivr-flows/numbers.toml", "[[number]]\nnumber = \"12345\"\nflow = \"b\"");
        write(root, "ivr-flows/a.toml", "start = \"x\"\n[queue.x]\nqueue = \"c\"\n[hangup.y]");
        let expected = [
            "listener udp: changed listen",
            "trunk new: added",
            "trunk old: removed",
            "target f/t: changed numbers",
            "queue f/a: changed ageing_s, skills.x, wrap_up_s",
            "queue f/b: removed",
            "queue f/c: added",
            "number 12345: changed flow",
            "flow a: changed hangup.y, queue.x.queue",
        ];
        assert_eq!(told(&before, &read(root)), expected);
    }

    #[test]
    fn the_order_of_dialling_rules_counts() {
        let folder = tempfile::tempdir().unwrap();
        let rule = |number: &str| format!("[[rule]]\nsite = \"f\"\nnumbers = [\"{number}\", \"9\"]\n");
        let rules = |numbers: &[&str]| {
            write(folder.path(), "sip-profiles/dialling.toml", &numbers.iter().map(|n| rule(n)).collect::<String>());
            read(folder.path())
        };
        let before = rules(&["1", "2", "3"]);
        assert_eq!(told(&before, &rules(&["0", "1", "2", "3"])), ["dialling rule f 0, 9: added"]);
        assert_eq!(told(&before, &rules(&["1", "3"])), ["dialling rule f 2, 9: removed"]);
        let swapped = ["dialling rule f 1, 9: moved", "dialling rule f 2, 9: moved"];
        assert_eq!(told(&before, &rules(&["2", "1", "3"])), swapped);
        assert_eq!(told(&before, &rules(&["1", "2", "3", "3"])), ["dialling rule f 3, 9 (2): added"]);
    }

    #[test]
    fn tokens_are_told_by_actor_and_files_by_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let main = "[registrar]\nnonce_life_s = 5\n[api]\n[[api.token]]\nactor = \"lead\"\ntoken_file = \"t\"\n\
                    [[site]]\ncode = \"f\"\nname = \"F\"\n";
        write(root, "jiesu.toml", main);
        write(root, "t", "one");
        let before = read(root);
        write(root, "t", "two");
        assert_eq!(told(&before, &read(root)), ["token of lead: changed token_file"]);
        write(root, "jiesu.toml", &main.replace("= 5", "= 6").replace("\"F\"", "\"G\""));
        write(root, "t", "one");
        assert_eq!(told(&before, &read(root)), ["table [registrar]: changed nonce_life_s", "site f: changed name"]);
    }
}
