//! How long files and functions may be, how a file opens, and what is never written: HOUSE.md, sections 4 and 7.

use super::source::{Source, closing, word_at};
use super::{assert_none, root};

/// Lines of a file.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Names that say nothing of what a module owns.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "types", "misc"];

/// Marks of unfinished work, in pieces so that this file is free of them.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

#[test]
fn files_keep_the_shape_of_the_house() {
    let mut findings: Vec<String> = Source::all(root(), "src").iter().flat_map(findings).collect();
    for source in &Source::all(root(), "tests") {
        findings.extend(opening(source).into_iter().chain(length(source)).chain(unfinished(source)));
    }
    for source in &Source::all(root(), "benches") {
        findings.extend(opening(source).into_iter().chain(length(source)).chain(unfinished(source)));
        findings.extend(long_functions(source));
    }
    assert_none(&findings);
}

fn findings(source: &Source) -> Vec<String> {
    let mut findings = opening(source);
    findings.extend(length(source));
    findings.extend(empty_name(source));
    findings.extend(unfinished(source));
    findings.extend(long_functions(source));
    findings.extend(unwraps(source));
    findings
}

fn opening(source: &Source) -> Vec<String> {
    let is_documented = source.whole.starts_with("//! ");
    let fault = format!("{}: open it with `//!`: what it owns, what it must never do", source.path);
    if is_documented { Vec::new() } else { vec![fault] }
}

fn length(source: &Source) -> Option<String> {
    let lines = source.whole.lines().count();
    let is_generated = source.whole.lines().nth(1).is_some_and(|line| line.contains("@generated"));
    (lines > FILE_LINES_MAX && !is_generated)
        .then(|| format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path))
}

fn empty_name(source: &Source) -> Option<String> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    let mut found = parts.filter(|part| EMPTY_NAMES.contains(part));
    found.next().map(|name| format!("{}: `{name}` is no name for a module", source.path))
}

fn unfinished(source: &Source) -> Vec<String> {
    let has_issue = |comment: &str| {
        let mut hashes = comment.match_indices('#');
        hashes.any(|(at, _)| comment[at + 1..].starts_with(|sign: char| sign.is_ascii_digit()))
    };
    let mut findings: Vec<String> = source
        .comments
        .iter()
        .filter(|(_, comment)| MARKS.iter().any(|mark| comment.contains(mark)) && !has_issue(comment))
        .map(|(line, _)| format!("{}:{line}: unfinished work needs an issue's number", source.path))
        .collect();
    for name in ["todo", "unimplemented"] {
        let macros = source.words(name).into_iter();
        findings.extend(
            macros
                .filter(|at| source.code[at + name.len()..].starts_with('!'))
                .map(|at| format!("{}: {name}! is unfinished work", source.place(at))),
        );
    }
    findings
}

fn long_functions(source: &Source) -> Vec<String> {
    let code = source.code.as_bytes();
    let mut findings = Vec::new();
    for at in source.words("fn") {
        // A function pointer's type has no name behind its `fn`.
        let Some(name) = word_at(&source.code, at + 3) else {
            continue;
        };
        let mut body = at;
        while body < code.len() && !matches!(code[body], b'{' | b';') {
            body = if matches!(code[body], b'(' | b'[') { closing(code, body) } else { body + 1 };
        }
        if code.get(body) != Some(&b'{') {
            continue;
        }
        let lines = source.line(closing(code, body) - 1) - source.line(at) + 1;
        if lines > FUNCTION_LINES_MAX {
            let place = source.place(at);
            findings.push(format!("{place}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}"));
        }
    }
    findings
}

fn unwraps(source: &Source) -> Vec<String> {
    let calls = source.code.match_indices(".unwrap()");
    calls.map(|(at, _)| format!("{}: say why it cannot fail, with expect", source.place(at))).collect()
}

#[test]
fn each_misshapen_file_is_found() {
    let long_file = format!("//! Owns it.\n{}", "//\n".repeat(FILE_LINES_MAX));
    let long_function =
        format!("//! Owns it.\nfn long(a: [u8; 2]) {{\n{}}}\n", "\n".repeat(FUNCTION_LINES_MAX));
    let mark = format!("//! Owns it.\n// {}: later\n", MARKS[0]);
    let cases = [
        ("src/a.rs", "fn f() {}", "open it with"),
        ("src/a.rs", &long_file, "501 lines"),
        ("src/a.rs", &long_function, "`long` has 72 lines"),
        ("src/store/util.rs", "//! Owns it.", "`util` is no name"),
        ("src/types/mod.rs", "//! Owns it.", "`types` is no name"),
        ("src/a.rs", &mark, "issue's number"),
        ("src/a.rs", "//! Owns it.\nfn f() { todo!() }", "unfinished work"),
        ("src/a.rs", "//! Owns it.\nfn f() { g().unwrap(); }", "with expect"),
    ];
    for (path, code, sign) in cases {
        let found = findings(&Source::parse(path, code)).join("\n");
        assert!(found.contains(sign), "{path} `{code}`: looked for {sign:?} in {found:?}");
    }
}

#[test]
fn a_shapely_file_is_not_found() {
    let mark = format!("// {} #12: a second engine\n", MARKS[0]);
    let code = format!(
        "//! Owns it.\n{mark}fn short() {{ f(\".unwrap()\") }}\ntype F = fn(u8) -> u8;\n\
         #[cfg(test)]\nmod tests {{ fn f() {{ g().unwrap(); {} }} }}\n",
        "\n".repeat(FUNCTION_LINES_MAX)
    );
    assert_none(&findings(&Source::parse("src/a.rs", &code)));
}
