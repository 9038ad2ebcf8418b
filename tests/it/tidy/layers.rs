//! Which way the arrows run, and what has one home: HOUSE.md, section 2.

use std::collections::BTreeMap;

use super::source::{Source, closing, word_at};
use super::{assert_none, root};

/// Each floor with all that it may see. `main` is the program's own file.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("domain", &["base"]),
    ("store", &["domain", "base"]),
    ("exec", &["domain", "base"]),
    ("notify", &["domain", "base"]),
    ("engine", &["store", "exec", "notify", "domain", "base"]),
    ("graphql", &["engine", "store", "domain", "base"]),
    ("web", &["graphql", "domain", "base"]),
    ("app", &["web", "graphql", "engine", "store", "exec", "notify", "domain", "base"]),
    ("client", &["domain", "base"]),
    ("cli", &["client", "domain", "base"]),
    // The program hands the daemon and its schema to the command line.
    ("main", &["cli", "app", "graphql"]),
];

/// The command line's files that run the daemon's own code instead of asking a daemon.
const CLI_WITH_APP: &[&str] = &["src/cli/serve.rs", "src/cli/admin.rs", "src/cli/schema.rs"];

/// What the pure floor may use of other crates.
const DOMAIN_CRATES: &[&str] = &[
    "std",
    "core",
    "alloc",
    "serde",
    "serde_json",
    "chrono",
    "chrono_tz",
    "croner",
    "async_graphql",
    "thiserror",
    // Pure searches in bytes: each line of output passes here.
    "aho_corasick",
    "memchr",
];

/// A crate and the only floor that may name it.
const HOMES: &[(&str, &str)] = &[
    ("sqlx", "store"),
    ("rusqlite", "store"),
    ("libsqlite3_sys", "store"),
    ("axum", "web"),
    ("hyper", "web"),
    ("hyper_util", "web"),
    ("getrandom", "base"),
];

/// How a statement starts.
const STATEMENTS: &[&str] = &[
    "SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "CREATE ", "ALTER ", "DROP ", "PRAGMA ", "BEGIN ",
    "COMMIT",
];

#[test]
fn arrows_run_down_only() {
    let sources = Source::all(root(), "src");
    let macros = macros(&sources);
    let findings: Vec<String> = sources.iter().flat_map(|source| findings(source, &macros)).collect();
    assert_none(&findings);
}

/// The macros and the floor of each: their paths start at the crate's root wherever they are written.
fn macros(sources: &[Source]) -> BTreeMap<String, String> {
    let defined = |source: &Source| -> Vec<(String, String)> {
        let definitions = source.words("macro_rules").into_iter();
        definitions
            .filter_map(|at| word_at(&source.code, at + "macro_rules! ".len()))
            .map(|name| (name.to_owned(), layer(&source.path).to_owned()))
            .collect()
    };
    sources.iter().flat_map(defined).collect()
}

/// Everything in one file that breaks a rule of the layers.
fn findings(source: &Source, macros: &BTreeMap<String, String>) -> Vec<String> {
    let layer = layer(&source.path);
    if layer == "lib" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, name) in arrows(source) {
        let target = macros.get(name).map_or(name, String::as_str);
        if let Some(fault) = arrow_fault(&source.path, layer, target) {
            findings.push(format!("{}: {fault}", source.place(at)));
        }
    }
    findings.extend(homes(source, layer));
    if layer == "domain" {
        findings.extend(impure(source));
    }
    findings
}

fn arrow_fault(path: &str, layer: &str, target: &str) -> Option<String> {
    if target == layer {
        return None;
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return Some(format!("`{layer}` has no place in the layers: give it one in tests/it/tidy/layers.rs"));
    };
    let may_see_app = CLI_WITH_APP.contains(&path) && target == "app";
    if allowed.contains(&target) || may_see_app {
        return None;
    }
    Some(format!("`{layer}` must not see `{target}`"))
}

/// `src/store/db.rs` is `store`, `src/app.rs` is `app`.
fn layer(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Every path to a floor: `crate::x`, `crate::{x, y}`, `super::..::x` that reaches the root, `beadle::x` in the program.
fn arrows(source: &Source) -> Vec<(usize, &str)> {
    let mut arrows = Vec::new();
    let own_crate = if layer(&source.path) == "main" { "beadle" } else { "crate" };
    for at in source.words(own_crate) {
        arrows.extend(targets(&source.code, at + own_crate.len()));
    }
    let depth = depth(&source.path);
    for at in source.words("super") {
        let (mut supers, mut end) = (1, at + "super".len());
        while source.code[end..].starts_with("::super") {
            (supers, end) = (supers + 1, end + "::super".len());
        }
        if supers >= depth && !source.code[..at].ends_with("super::") {
            arrows.extend(targets(&source.code, end));
        }
    }
    arrows
}

/// How many `super`s lead from this file's module to the crate's root.
fn depth(path: &str) -> usize {
    let parts = path.strip_prefix("src/").unwrap_or(path).split('/').count();
    if path.ends_with("/mod.rs") { parts - 1 } else { parts }
}

/// The first names behind the `::` at `at`: one, or those of a group.
fn targets(code: &str, at: usize) -> Vec<(usize, &str)> {
    let Some(rest) = code[at..].strip_prefix("::") else {
        return Vec::new();
    };
    let start = at + 2 + (rest.len() - rest.trim_start().len());
    if !code[start..].starts_with('{') {
        return word_at(code, start).map(|word| (start, word)).into_iter().collect();
    }
    let bytes = code.as_bytes();
    let end = closing(bytes, start) - 1;
    let (mut found, mut next, mut is_first) = (Vec::new(), start + 1, true);
    while next < end {
        match bytes[next] {
            b',' => (is_first, next) = (true, next + 1),
            b'{' => next = closing(bytes, next),
            _ => {
                if let (true, Some(word)) = (is_first, word_at(code, next)) {
                    found.push((next, word));
                    (is_first, next) = (false, next + word.len());
                } else {
                    next += 1;
                }
            }
        }
    }
    found
}

/// What stands outside its one home.
fn homes(source: &Source, layer: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for &(name, home) in HOMES {
        let mut found = source.words(name).into_iter();
        let is_path = |at: &usize| source.code[at + name.len()..].trim_start().starts_with("::");
        if let Some(at) = found.find(is_path).filter(|_| layer != home) {
            findings.push(format!("{}: only `{home}` names {name}", source.place(at)));
        }
    }
    if layer != "exec" {
        for at in source.words("process") {
            let group = targets(&source.code, at + "process".len());
            if let Some((at, _)) = group.iter().find(|(_, name)| *name == "Command") {
                findings.push(format!("{}: only `exec` starts programs", source.place(*at)));
            }
        }
    }
    if layer != "store" {
        let is_statement = |text: &str| STATEMENTS.iter().any(|start| text.trim_start().starts_with(start));
        let mut statements = source.texts.iter().filter(|(_, text)| is_statement(text));
        if let Some((line, _)) = statements.next() {
            findings.push(format!("{}:{line}: only `store` holds SQL", source.path));
        }
    }
    findings
}

/// What makes the pure floor less than pure: waiting, and crates that do things.
fn impure(source: &Source) -> Vec<String> {
    let mut findings: Vec<String> = ["async", "await"]
        .iter()
        .flat_map(|word| source.words(word))
        .map(|at| format!("{}: `domain` is synchronous", source.place(at)))
        .collect();
    for at in source.words("use") {
        let start = at + 3 + (source.code[at + 3..].len() - source.code[at + 3..].trim_start().len());
        let Some(name) = word_at(&source.code, start) else {
            continue;
        };
        let is_foreign = source.code[start + name.len()..].starts_with("::");
        let is_own = ["crate", "super", "self"].contains(&name);
        if is_foreign && !is_own && !DOMAIN_CRATES.contains(&name) {
            findings.push(format!("{}: `domain` must not use {name}", source.place(start)));
        }
    }
    findings
}

#[test]
fn each_forbidden_arrow_is_found() {
    let macros = macros(&[Source::parse("src/store/db.rs", "macro_rules! args { () => {} }")]);
    let cases = [
        ("src/domain/job.rs", "use crate::store::Reader;", "must not see `store`"),
        ("src/domain/job.rs", "use super::super::engine;", "must not see `engine`"),
        ("src/domain/mod.rs", "use super::engine::jobs;", "must not see `engine`"),
        ("src/store/db.rs", "fn f() { crate::exec::kill(); }", "must not see `exec`"),
        (
            "src/store/db.rs",
            "use crate::{base::clock, domain::{job, id}, engine::feed};",
            "must not see `engine`",
        ),
        ("src/cli/jobs.rs", "use crate::engine::feed;", "must not see `engine`"),
        ("src/cli/jobs.rs", "use crate::app;", "must not see `app`"),
        ("src/client/mod.rs", "use crate::graphql::jobs;", "must not see `graphql`"),
        ("src/web/guard.rs", "use crate::engine::feed;", "must not see `engine`"),
        ("src/main.rs", "fn main() { beadle::engine::run() }", "must not see `engine`"),
        ("src/domain/job.rs", "use crate::args;", "must not see `store`"),
        ("src/extra.rs", "use crate::base::clock;", "has no place"),
        ("src/engine/jobs.rs", "use sqlx::query;", "only `store` names sqlx"),
        ("src/app.rs", "fn f() { axum::serve() }", "only `web` names axum"),
        ("src/engine/jobs.rs", "use std::process::{self, Command};", "only `exec` starts programs"),
        ("src/cli/run.rs", "fn f() { std::process::Command::new(\"sh\"); }", "only `exec` starts programs"),
        ("src/engine/jobs.rs", "const X: &str = \"\n  SELECT id FROM jobs\";", "only `store` holds SQL"),
        ("src/domain/job.rs", "async fn f() {}", "synchronous"),
        ("src/domain/job.rs", "use tokio::sync::mpsc;", "must not use tokio"),
    ];
    for (path, code, sign) in cases {
        let found = findings(&Source::parse(path, code), &macros).join("\n");
        assert!(found.contains(sign), "{path} `{code}`: looked for {sign:?} in {found:?}");
    }
}

#[test]
fn what_the_house_allows_is_not_found() {
    let macros = macros(&[Source::parse("src/store/db.rs", "macro_rules! args { () => {} }")]);
    let cases = [
        (
            "src/domain/job.rs",
            "use super::id::JobId; use crate::base::clock::Timestamp; use serde::Serialize;",
        ),
        ("src/store/db.rs", "use sqlx::Row; const X: &str = \"SELECT id FROM jobs\"; use super::sql::Sql;"),
        ("src/engine/runner.rs", "use crate::{exec, store::Writer, domain::{job::Job, command::Command}};"),
        ("src/exec/process.rs", "use std::process::Command;"),
        ("src/cli/serve.rs", "use crate::app; use crate::cli::output; use std::process::ExitCode;"),
        ("src/cli/jobs.rs", "// crate::engine is never seen here\nuse crate::client::operations;"),
        ("src/engine/jobs.rs", "#[cfg(test)]\nmod tests { use crate::graphql::jobs; }"),
        ("src/main.rs", "fn main() -> std::process::ExitCode { beadle::cli::main() }"),
        ("src/lib.rs", "pub mod base; pub mod engine;"),
    ];
    for (path, code) in cases {
        assert_none(&findings(&Source::parse(path, code), &macros));
    }
}
