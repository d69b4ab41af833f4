//! The house rules that a compiler does not know: module order, purity, headers, sizes.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines a source file may have.
const FILE_LINES_MAX: usize = 800;

/// Modules in the order of `src/lib.rs`; a module uses only those before it. Up to `PURE` they touch no world.
const ORDER: [&str; 23] = [
    "base",
    "sdp",
    "sip",
    "edge",
    "media",
    "recording",
    "ivr",
    "acd",
    "modes",
    "simulate",
    "workorder",
    "figures",
    "trunk",
    "callback",
    "call",
    "shard", // pure
    "config",
    "store",
    "net",
    "node",
    "demo",
    "api",
    "cli",
];
const PURE: usize = 16;

/// Words that mean a clock, a task, a file, a socket, a thread or a random order.
const WORLD: [&str; 16] = [
    "tokio",
    "std::fs",
    "std::net::Udp",
    "std::net::Tcp",
    "std::thread",
    "std::env",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::io::",
    "rand::",
    "getrandom",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Source files with their module (the first folder or file below `src`).
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = root().join("src");
    let files = rust_files(&src).into_iter().filter_map(|path| {
        let inside = path.strip_prefix(&src).unwrap().to_path_buf();
        let module = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let text = fs::read_to_string(&path).unwrap();
        (module != "main" && module != "lib").then_some((module, path, text))
    });
    files.collect()
}

/// The code of a file without its unit tests and without comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn position(module: &str) -> usize {
    ORDER.iter().position(|known| *known == module).unwrap_or_else(|| panic!("module {module} is not in the order"))
}

/// Modules named after `crate::`, also in `use crate::{a, b::c}`.
fn used_modules(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            let mut fresh = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => {
                        name.push(c);
                        continue;
                    }
                    c if c.is_whitespace() => continue,
                    _ => fresh = fresh && depth > 0,
                }
                if !name.is_empty() {
                    used.push(std::mem::take(&mut name));
                }
            }
            used.extend((!name.is_empty()).then_some(name));
        } else {
            used.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    used
}

#[test]
fn lib_lists_the_modules_in_their_order() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let listed: Vec<&str> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(listed, ORDER);
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        for used in used_modules(&code(&text)) {
            if ORDER.contains(&used.as_str()) && position(&used) > position(&module) {
                wrong.push(format!("{} uses {used}, which stands below {module}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_modules_touch_no_world() {
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let code = code(&text);
        if position(&module) < PURE {
            let words = WORLD.iter().filter(|word| code.contains(*word));
            wrong.extend(words.map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_owns_and_keeps_to_its_size() {
    let mut wrong = Vec::new();
    for path in ["src", "tests", "benches"].iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: no header", path.display()));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later_and_nothing_is_unsafe() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let no_safety = ["unsafe", " {"].concat();
    let mut wrong = Vec::new();
    for path in ["src", "tests", "benches"].iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        // The one that measures what a ring of the kernel's would cost.
        let may = path.ends_with("benches/media/ring.rs");
        let marks = marks.iter().chain((!may).then_some(&no_safety));
        wrong.extend(marks.filter(|mark| text.contains(*mark)).map(|mark| format!("{}: {mark}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_order_check_reads_grouped_imports() {
    assert_eq!(used_modules("use crate::{a, b::{c, d}, e};\ncrate::f::g()"), ["a", "b", "e", "f"]);
}
