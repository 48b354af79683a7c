//! Checks of the tree itself: import direction, file lengths, headers, forbidden constructs, where crates may be used.
//!
//! Every rule is a function from a source file to complaints, so that each can be shown to go red.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Files that a tool wrote: neither their length nor their style is ours.
const GENERATED: &[&str] = &[];

const MAX_LINES: usize = 400;

/// Visible folders at the top level.
const FOLDERS: [&str; 9] = ["benches", "config", "docs", "examples", "fuzz", "models", "src", "tests", "scripts"];

/// Names that may be used in these folders and files only.
const RESERVED: [(&str, &[&str]); 6] = [
    ("ort::", &["src/runtime/"]),
    ("ort_sys", &["src/runtime/"]),
    ("prost", &["src/graph/"]),
    ("sqlx", &["src/jobs/"]),
    ("axum", &["src/http/", "src/app/"]),
    ("env::var", &["src/config/"]),
];

/// A source file: `code` is `text` with comments and the contents of literals blanked out.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into(), code: blanked(text) }
    }

    /// Code before the tests at the file's end.
    fn product_code(&self) -> &str {
        self.code.split("#[cfg(test)]").next().unwrap_or("")
    }

    /// The module directly below the crate, `None` for the roots.
    fn module(&self) -> Option<&str> {
        let module = self.path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
        (!matches!(module, "lib" | "main")).then_some(module)
    }

    fn complaint(&self, offset: usize, what: &str) -> String {
        let line = 1 + self.code[..offset].matches('\n').count();
        format!("{}:{line}: {what}", self.path)
    }
}

/// `text` with comments and literals replaced by spaces; lines stay lines.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let end = if code.ends_with(part_of_name) { quoted_end(rest) } else { raw_end(rest).max(quoted_end(rest)) };
        let next = end.max(letter.len_utf8());
        code.extend(rest[..next].chars().map(|letter| if end == 0 || letter == '\n' { letter } else { ' ' }));
        rest = &rest[next..];
    }
    code
}

/// Length of the comment, string or character that `rest` begins with; 0 when it begins with something else.
fn quoted_end(rest: &str) -> usize {
    let quote = match rest.as_bytes() {
        [b'/', b'/', ..] => return rest.find('\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => return rest.find("*/").map_or(rest.len(), |end| end + 2),
        [b'"', ..] => b'"',
        [b'\'', b'\\', ..] => b'\'',
        // A character is closed at once; a lifetime is not.
        [b'\'', ..] => return rest.char_indices().nth(2).filter(|(_, letter)| *letter == '\'').map_or(0, |(at, _)| at + 1),
        _ => return 0,
    };
    let mut escaped = false;
    let end = rest.bytes().skip(1).position(|byte| {
        let closes = byte == quote && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(rest.len(), |end| end + 2)
}

/// Length of the raw string that `rest` begins with, 0 without one.
fn raw_end(rest: &str) -> usize {
    let Some(raw) = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')) else { return 0 };
    let inside = raw.trim_start_matches('#');
    let hashes = raw.len() - inside.len();
    let Some(inside) = inside.strip_prefix('"') else { return 0 };
    let close = format!("\"{}", "#".repeat(hashes));
    inside.find(&close).map_or(rest.len(), |end| rest.len() - inside.len() + end + close.len())
}

fn part_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Where `word` stands in `code`, not as the end of a longer name.
fn positions<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    let whole = move |at: usize| !(word.starts_with(part_of_name) && code[..at].ends_with(part_of_name));
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| whole(at))
}

/// Names that follow `crate::` in `code`, groups included, with their places.
fn imports(code: &str) -> Vec<(usize, String)> {
    let name = |text: &str| text.trim_start().chars().take_while(|&letter| part_of_name(letter)).collect::<String>();
    let mut found = Vec::new();
    for at in positions(code, "crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push((at, name(rest)));
            continue;
        };
        let (mut depth, mut item) = (0, 0);
        for (position, letter) in group.char_indices() {
            match letter {
                ',' | '}' if depth == 0 => {
                    found.push((at, name(&group[item..position])));
                    item = position + 1;
                }
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if letter == '}' && item == position + 1 {
                break;
            }
        }
    }
    found
}

fn check_imports(sources: &[Source], order: &[String]) -> Vec<String> {
    let place = |module: &str| order.iter().position(|candidate| candidate == module);
    let mut complaints = Vec::new();
    for source in sources {
        let Some(module) = source.module() else { continue };
        let Some(own) = place(module) else {
            complaints.push(format!("{}: `{module}` is not in lib.rs", source.path));
            continue;
        };
        let later = |imported: &str| place(imported).is_some_and(|imported| imported > own);
        let wrong = imports(source.product_code()).into_iter().filter(|(_, imported)| later(imported));
        let what = |imported| format!("`{module}` imports `{imported}`, which comes after it in lib.rs");
        complaints.extend(wrong.map(|(at, imported)| source.complaint(at, &what(imported))));
    }
    complaints
}

fn check_length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= MAX_LINES { Vec::new() } else { vec![format!("{}: {lines} lines, more than {MAX_LINES}", source.path)] }
}

fn check_header(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") { Vec::new() } else { vec![format!("{}: does not open with `//!`", source.path)] }
}

/// Each place in `code` with one of `words`.
fn check_words(source: &Source, code: &str, words: &[&str], why: &str) -> Vec<String> {
    let complain =
        |word: &&str| positions(code, word).map(|at| source.complaint(at, &format!("`{word}` {why}"))).collect::<Vec<_>>();
    words.iter().flat_map(complain).collect()
}

/// Product code neither panics lazily nor keeps traces of work in progress.
fn check_unfinished(source: &Source) -> Vec<String> {
    check_words(source, source.product_code(), &[".unwrap()", "todo!", "dbg!", "unimplemented!"], "outside tests")
}

fn check_attributes(source: &Source) -> Vec<String> {
    let words = ["#[ignore", "#[allow(", "#![allow("];
    check_words(source, &source.code, &words, "hides something: run it, or `expect` it with a reason")
}

fn check_reserved(source: &Source) -> Vec<String> {
    let foreign = RESERVED.iter().filter(|(_, places)| !places.iter().any(|place| source.path.starts_with(place)));
    let code = source.product_code();
    foreign.flat_map(|(word, places)| check_words(source, code, &[word], &format!("belongs in {}", places.join(", ")))).collect()
}

/// Test code is modules: `mod name;` anywhere, or one inline module that nothing follows.
fn check_tests_last(source: &Source) -> Vec<String> {
    let mut parts = source.code.split("#[cfg(test)]");
    let mut offset = parts.next().map_or(0, str::len);
    let mut complaints = Vec::new();
    for part in parts {
        let rest = part.trim();
        let named = rest.strip_prefix("pub(crate) ").unwrap_or(rest).strip_prefix("mod ");
        let line = named.and_then(|name| name.lines().next()).and_then(|name| name.strip_suffix(';'));
        let declared = line.is_some_and(|name| name.chars().all(part_of_name));
        let inline = named.is_some() && rest.find("\n}").is_some_and(|end| end + 2 == rest.len());
        if !declared && !inline {
            complaints.push(source.complaint(offset, "tests are one module at the file's end"));
        }
        offset += "#[cfg(test)]".len() + part.len();
    }
    complaints
}

/// Files, `make` targets and `graft` commands that `text` names in backticks, and which `exists` does not know. A path counts
/// when it ends in `.rs` or begins in a folder of the project; capital letters are placeholders.
fn check_names(path: &str, text: &str, exists: fn(&str) -> bool) -> Vec<String> {
    let is_path = |name: &str| name.chars().all(|letter| letter.is_ascii_lowercase() || "0123456789_./-".contains(letter));
    let folder = |name: &str| ["src/", "tests/", "benches/", "scripts/", "config/"].iter().any(|folder| name.starts_with(folder));
    let named = |span: &&str| {
        let mut words = span.split(' ');
        match (words.next(), words.next()) {
            (Some(command @ ("make" | "graft")), Some(word)) if is_path(word) && !word.starts_with('-') => {
                Some(format!("{command} {word}"))
            }
            (Some(name), None) if is_path(name) && (folder(name) || name.ends_with(".rs")) => Some(name.to_owned()),
            _ => None,
        }
    };
    // Between fences backticks come in pairs within a line.
    let spans = text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2));
    let unknown = spans.filter_map(|span| named(&span)).filter(|name| !exists(name));
    unknown.map(|name| format!("{path}: `{name}` does not exist")).collect()
}

/// Whether the tree has what a document names: a path from the root or from `src`, `make TARGET`, or `graft COMMAND`.
fn is_in_the_tree(name: &str) -> bool {
    match name.split_once(' ') {
        Some(("make", target)) => {
            let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile can be read");
            makefile.lines().any(|line| line.strip_prefix(target).is_some_and(|rest| rest.starts_with(':')))
        }
        Some((_, command)) => root().join(format!("src/cli/{command}.rs")).is_file(),
        None => root().join(name).exists() || root().join("src").join(name).exists(),
    }
}

fn check_folders(folders: &[String]) -> Vec<String> {
    let foreign = folders.iter().filter(|folder| !folder.starts_with('.') && !FOLDERS.contains(&folder.as_str()));
    foreign.map(|folder| format!("{folder}/: not a folder of this project")).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` of the crate that a person wrote.
fn sources() -> Vec<Source> {
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches", "examples"].map(|folder| root().join(folder)).into();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("the source tree can be read").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                let path = path.strip_prefix(root()).expect("the folder lies in the root").display().to_string();
                sources.push(Source::new(&path, &text));
            }
        }
    }
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the source tree was not found");
    sources.retain(|source| !GENERATED.contains(&source.path.as_str()));
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Sources of the product, without files that are compiled for tests only (`tests.rs`, `tests/`).
fn product_sources() -> Vec<Source> {
    let tests = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/") || !path.starts_with("src/");
    sources().into_iter().filter(|source| !tests(&source.path)).collect()
}

/// Modules in the order in which lib.rs lists them.
fn module_order(lib: &str) -> Vec<String> {
    lib.lines().filter_map(|line| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned())).collect()
}

fn assert_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn each(sources: &[Source], rule: fn(&Source) -> Vec<String>) {
    assert_tidy(&sources.iter().flat_map(rule).collect::<Vec<_>>());
}

#[test]
fn modules_import_only_from_those_before_them() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs can be read");
    assert_tidy(&check_imports(&product_sources(), &module_order(&lib)));
}

#[test]
fn files_are_short() {
    each(&sources(), check_length);
}

#[test]
fn files_open_with_what_they_are() {
    each(&sources(), check_header);
}

#[test]
fn product_code_is_finished() {
    each(&product_sources(), check_unfinished);
}

#[test]
fn no_test_is_ignored_and_no_lint_silenced() {
    each(&sources(), check_attributes);
}

#[test]
fn tests_come_last() {
    each(&product_sources(), check_tests_last);
}

#[test]
fn crates_stay_in_their_modules() {
    each(&product_sources(), check_reserved);
}

#[test]
fn documents_name_what_exists() {
    let names = "README ARCHITECTURE CONTRIBUTING SECURITY CHANGELOG fuzz/README tests/README docs/from-keras docs/own-models docs/datasets docs/images docs/scores docs/security";
    let documents: Vec<String> = names.split(' ').map(|name| format!("{name}.md")).collect();
    let read = |path: &String| fs::read_to_string(root().join(path)).expect("the document can be read");
    let complaints = documents.iter().flat_map(|path| check_names(path, &read(path), is_in_the_tree));
    assert_tidy(&complaints.collect::<Vec<_>>());
}

#[test]
fn top_level_folders_are_known() {
    // What the README's reader makes beside them is not the project's.
    let files = Command::new("git").arg("ls-files").current_dir(root()).output().expect("git can be run").stdout;
    let files = String::from_utf8_lossy(&files);
    let folders = files.lines().filter_map(|file| file.split_once('/')).map(|(folder, _)| folder.to_owned());
    assert_tidy(&check_folders(&folders.collect::<Vec<_>>()));
}

#[test]
fn generated_files_exist() {
    let missing = GENERATED.iter().filter(|path| !root().join(path).is_file());
    assert_tidy(&missing.map(|path| format!("{path}: is listed as generated, but missing")).collect::<Vec<_>>());
}

#[test]
fn every_rule_can_go_red() {
    let check = |rule: fn(&Source) -> Vec<String>, path: &str, text: &str, expected: usize| {
        let found = rule(&Source::new(path, text));
        assert_eq!(found.len(), expected, "{text}: {found:?}");
    };
    check(check_length, "src/a.rs", &"\n".repeat(400), 0);
    check(check_length, "src/a.rs", &"\n".repeat(401), 1);
    check(check_header, "src/a.rs", "//! A.\n", 0);
    check(check_header, "src/a.rs", "// A.\n", 1);
    check(check_unfinished, "src/a.rs", "a.unwrap(); todo!(); dbg!(a); unimplemented!()", 4);
    check(check_unfinished, "src/a.rs", "// a.unwrap()\n\"todo!\" r#\"dbg!\"# a.unwrap_or(0)\n#[cfg(test)]\na.unwrap()", 0);
    check(check_attributes, "tests/a.rs", "#[ignore]\n#[allow(x)]\n#![allow(x)]", 3);
    check(check_attributes, "tests/a.rs", "#[expect(x)] \"#[ignore]\"", 0);
    check(check_tests_last, "src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n", 0);
    check(check_tests_last, "src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests;\n", 0);
    check(check_tests_last, "src/a.rs", "#[cfg(test)]\nmod tests {\n}\nfn a() {}\n", 1);
    check(check_tests_last, "src/a.rs", "#[cfg(test)]\nmod b;\nmod c;\n#[cfg(test)]\nmod tests;\n", 0);
    check(check_tests_last, "src/a.rs", "#[cfg(test)]\nfn b() {}\n", 1);
    check(
        check_reserved,
        "src/http/mod.rs",
        "use ort::Session; ort_sys; use prost::Message; std::env::var(\"A\"); sqlx::query",
        5,
    );
    check(check_reserved, "src/runtime/mod.rs", "use ort::Session; support::a(); utoipa_axum; \"axum\"", 0);
    check(check_reserved, "src/cli/mod.rs", "use axum::Router;", 1);
    let names = "`src/app.rs` and `app.rs`, `src/lib.rs`, `http/error.rs`, `make tests` and `make test`, `graft serves`";
    assert_eq!(check_names("A.md", names, is_in_the_tree).len(), 4);
    assert_eq!(check_names("A.md", "`models/NAME/x.rs` `graft --help` `a b.rs` src/app.rs", |_| false), Vec::<String>::new());
    assert_eq!(check_folders(&["src".into(), ".git".into(), "utils".into()]).len(), 1);
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let order = module_order("pub mod config;\n\npub mod tensor;\npub mod http;\nmod private;\n");
    assert_eq!(order, ["config", "tensor", "http"]);
    let check = |path: &str, text: &str, expected: usize| {
        let found = check_imports(&[Source::new(path, text)], &order);
        assert_eq!(found.len(), expected, "{text}: {found:?}");
    };
    check("src/tensor/mod.rs", "use crate::{config::{Config, Other}, tensor::Tensor};", 0);
    check("src/tensor/mod.rs", "use crate::{config::{Config, http},\n    http::Router};", 1);
    check("src/tensor/mod.rs", "use crate::{http}; fn a() -> crate::http::A {}", 2);
    check("src/tensor/mod.rs", "use crate::{\n    config,\n};\nlet a = { crate::config, http };", 0);
    check("src/tensor/mod.rs", "// crate::http\n#[cfg(test)]\nmod tests { use crate::http; }", 0);
    check("src/config/key.rs", "let a = '\"'; use crate::tensor; let b: &'a str = \"\\\"\"; crate::http", 2);
    check("src/unknown.rs", "", 1);
    check("src/lib.rs", "pub use crate::http;", 0);
}
