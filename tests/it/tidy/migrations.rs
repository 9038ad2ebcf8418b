//! Migrations come in pairs: the same numbers, names and words for both engines, but for what the engines call
//! differently. What only one of them has stands between `-- postgres only` (or `-- sqlite only`) and `-- end`. What a new
//! SQLite file is made by at once is what they make of it in turn.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{assert_none, root};
use crate::support::database::{execute, texts};

/// The databases that have migrations of their own.
const DATABASES: &[&str] = &["state", "logs"];

#[test]
fn both_engines_have_the_same_migrations() {
    let mut findings = Vec::new();
    for database in DATABASES {
        let read = |engine: &str| folder(&root().join("migrations").join(engine).join(database));
        let (sqlite, postgres) = (read("sqlite"), read("postgres"));
        assert!(!sqlite.is_empty(), "no migrations for {database}");
        findings.extend(differences(&sqlite, &postgres).iter().map(|fault| format!("{database}/{fault}")));
    }
    assert_none(&findings);
}

/// What a database holds when it was made, in words: neither lines nor comments count, nor which came first.
const MADE: &str = "SELECT coalesce(sql, name) FROM sqlite_master ORDER BY type, name";
/// The statement that counts the rows of every table: one that a migration writes would lack in what is made at once.
const COUNT_ROWS: &str =
    "SELECT 'SELECT ' || group_concat('(SELECT count(*) FROM ' || name || ')', ' || '' '' || ')
    FROM (SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name)";

#[test]
fn a_new_file_is_made_at_once_as_the_migrations_make_it_step_by_step() {
    let directory = TempDir::new().expect("a directory");
    for database in DATABASES {
        let sources = root().join("migrations/sqlite");
        let made = |name: &str, scripts: &[String]| -> Vec<String> {
            let path = directory.path().join(format!("{database}-{name}.db"));
            for script in scripts {
                execute(&path, script);
            }
            let mut made = texts(&path, MADE);
            for sql in &mut made {
                *sql = split(&without_comments(sql)).join(" ");
            }
            made.extend(texts(&path, &texts(&path, COUNT_ROWS)[0]));
            made
        };
        let steps: Vec<String> = folder(&sources.join(database)).into_values().collect();
        let whole =
            fs::read_to_string(sources.join(format!("{database}.sql"))).expect("the whole is readable");
        let (in_turn, at_once) = (made("steps", &steps), made("whole", &[whole]));
        for (step, whole) in in_turn.iter().zip(&at_once) {
            assert_eq!(step, whole, "migrations/sqlite/{database}.sql is not what the migrations make");
        }
        assert_eq!(in_turn.len(), at_once.len());
        assert!(in_turn.len() > 3, "{in_turn:?}");
    }
}

/// The files of one folder by name.
fn folder(path: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    entries
        .map(|entry| {
            let path = entry.expect("a folder of ours is readable").path();
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a migration is readable text"))
        })
        .collect()
}

fn differences(sqlite: &BTreeMap<String, String>, postgres: &BTreeMap<String, String>) -> Vec<String> {
    let mut findings = Vec::new();
    for name in sqlite.keys().filter(|name| !postgres.contains_key(*name)) {
        findings.push(format!("{name}: only for SQLite"));
    }
    for name in postgres.keys().filter(|name| !sqlite.contains_key(*name)) {
        findings.push(format!("{name}: only for PostgreSQL"));
    }
    for (name, text) in sqlite {
        let Some(other) = postgres.get(name) else { continue };
        let (ours, theirs) = (words(text), words(other));
        let at = ours.iter().zip(&theirs).position(|(one, two)| one != two);
        let at = at.or((ours.len() != theirs.len()).then(|| ours.len().min(theirs.len())));
        if let Some(at) = at {
            let around = |words: &[String]| words[at.saturating_sub(6)..words.len().min(at + 4)].join(" ");
            let (ours, theirs) = (around(&ours), around(&theirs));
            findings.push(format!("{name}:\n  SQLite:     {ours}\n  PostgreSQL: {theirs}"));
        }
    }
    findings
}

/// A migration's words in one language: comments, parts of one engine and its dialect left out.
fn words(text: &str) -> Vec<String> {
    let mut kept = String::new();
    let mut is_other = false;
    for line in text.lines() {
        match line.trim() {
            "-- postgres only" | "-- sqlite only" => is_other = true,
            "-- end" => is_other = false,
            _ if !is_other => {
                kept.push_str(line);
                kept.push('\n');
            }
            _ => {}
        }
    }
    dialect(&split(&without_comments(&kept)))
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("--").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Words and marks, each for itself.
fn split(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for piece in text.split_whitespace() {
        let mut rest = piece;
        while let Some(at) = rest.find(['(', ')', ',', ';']) {
            words.extend([&rest[..at], &rest[at..=at]].map(str::to_owned));
            rest = &rest[at + 1..];
        }
        words.push(rest.to_owned());
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Both dialects by SQLite's names, without what only says how an engine stores or sorts.
fn dialect(words: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let next = words.get(at + 1).map(String::as_str);
        let (word, used) = match (words[at].as_str(), next) {
            ("BIGINT", _) => ("INTEGER", 1),
            ("BYTEA", _) => ("BLOB", 1),
            ("DOUBLE", Some("PRECISION")) => ("REAL", 2),
            ("COLLATE", Some("\"C\"")) | ("WITHOUT", Some("ROWID")) => ("", 2),
            ("STRICT", _) => ("", 1),
            (word, _) => (word, 1),
        };
        // `STRICT, WITHOUT ROWID` leaves its comma behind.
        let is_left_over = word == ";" && out.last().is_some_and(|last| last == ",");
        if is_left_over {
            out.pop();
        }
        out.extend((!word.is_empty()).then(|| word.to_owned()));
        at += used;
    }
    out
}

#[test]
fn a_pair_that_differs_is_found_and_a_dialect_is_not() {
    let files = |files: &[(&str, &str)]| -> BTreeMap<String, String> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let sqlite = files(&[(
        "0001_init.sql",
        "CREATE TABLE a (id INTEGER PRIMARY KEY, name TEXT NOT NULL, part REAL, body BLOB) STRICT, WITHOUT ROWID;\n",
    )]);
    let same = "-- postgres only\nCREATE SEQUENCE s;\n-- end\nCREATE TABLE a ( -- the thing\n  id BIGINT PRIMARY KEY,\n  \
                name TEXT COLLATE \"C\" NOT NULL, part DOUBLE PRECISION,\n  body BYTEA\n);\n";
    assert_none(&differences(&sqlite, &files(&[("0001_init.sql", same)])));
    for (change, into) in
        [("NOT NULL", ""), ("PRIMARY KEY", "UNIQUE"), (");", "); CREATE INDEX i ON a (name);")]
    {
        let other = same.replace(change, into);
        let found = differences(&sqlite, &files(&[("0001_init.sql", &other)]));
        assert_eq!(found.len(), 1, "{change} -> {into}: {found:?}");
    }
    assert_eq!(differences(&sqlite, &files(&[("0001_begin.sql", same)])).len(), 2);
}
