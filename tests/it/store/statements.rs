//! Every statement can be prepared on both engines, and none is forgotten.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use beadle::store::db::Db;
use beadle::store::statements;

use super::stage::on_both;

/// Statements of `open.rs` that speak to SQLite alone, before it is known to be ours.
const OF_SQLITE_ALONE: [&str; 2] = ["open::SQLITE_APPLICATION_ID", "open::SQLITE_TABLES"];

#[test]
fn every_statement_prepares_on_both_engines() {
    on_both(async |stage| {
        let (state, logs) = stage.hand.store().databases();
        let mut faults = refused(&state, statements::state()).await;
        faults.extend(refused(&logs, statements::logs()).await);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    });
}

async fn refused(db: &Db, statements: Vec<&'static beadle::store::db::Sql>) -> Vec<String> {
    let mut faults = Vec::new();
    for sql in statements {
        if let Err(fault) = db.prepare(sql).await {
            faults.push(format!("{fault}: {sql:?}"));
        }
    }
    faults
}

#[test]
fn every_statement_uses_exactly_the_arguments_that_it_declares() {
    let mut faults = Vec::new();
    for sql in statements::state().into_iter().chain(statements::logs()) {
        let shown = format!("{sql:?}");
        let (texts, kinds) = shown.split_once(", row: ").expect("a statement shows its kinds");
        let (sqlite, postgres) = texts.split_once("\", postgres: \"").expect("a statement shows both texts");
        // A row's columns, and what stands behind them.
        let declared = kinds.matches(['I', 'F', 'T', 'B']).count();
        for text in [sqlite, postgres] {
            let used: BTreeSet<usize> = text.split('$').skip(1).filter_map(leading_number).collect();
            if used != (1..=declared).collect() {
                faults.push(format!("declares {declared}, uses {used:?}: {text}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn leading_number(text: &str) -> Option<usize> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
fn no_statement_is_missing_from_the_lists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let listed = fs::read_to_string(folder.join("statements.rs")).expect("the lists are there");
    let (mut unlisted, mut faults) = (BTreeSet::new(), Vec::new());
    for entry in fs::read_dir(&folder).expect("the store's sources are there") {
        let path = entry.expect("a folder of ours is readable").path();
        // The seam's folder makes none.
        if path.is_dir() {
            continue;
        }
        let module = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).expect("source is readable text");
        let names = constants(&source);
        // Each text stands in a constant of its own, so that none is made on the way.
        let made: usize = ["Sql::both(", "Sql::each(", "Sql::each_row("]
            .map(|way| source.matches(way).count())
            .iter()
            .sum();
        if module != "db" && made != names.len() {
            faults.push(format!("{module}: {made} statements, {} constants", names.len()));
        }
        let own_list = source.split("const STATEMENTS").nth(1).unwrap_or_default();
        let has_list = has_word(&listed, &format!("{module}::STATEMENTS"));
        for name in names {
            let full = format!("{module}::{name}");
            let is_in_own = has_list && has_word(own_list, &format!("&{name}"));
            if !is_in_own && !has_word(&listed, &full) {
                unlisted.insert(full);
            }
        }
    }
    let unlisted: Vec<&str> = unlisted.iter().map(String::as_str).collect();
    assert_eq!(unlisted, OF_SQLITE_ALONE);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Names of the constants that hold a statement, or a row of them.
fn constants(source: &str) -> Vec<String> {
    let declarations = source.split("const ").skip(1);
    declarations
        .filter_map(|rest| rest.split_once(": "))
        .filter(|(name, rest)| {
            let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            is_name && (rest.starts_with("Sql =") || rest.starts_with("[Sql;"))
        })
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn has_word(text: &str, word: &str) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(at, _)| is_end(&text[at + word.len()..]))
}

#[test]
fn a_forgotten_statement_is_found() {
    let source =
        "pub(super) const ONE: Sql = Sql::both(\"\", &[]);\nconst MANY: [Sql; 2] = [];\nconst N: i64 = 1;";
    assert_eq!(constants(source), ["ONE", "MANY"]);
    assert!(has_word("&jobs::ONE,", "jobs::ONE"));
    assert!(!has_word("&jobs::ONE_MORE,", "jobs::ONE"));
}
