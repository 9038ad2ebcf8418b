//! The house's rules, checked on every file: which way the arrows run, how long things may be, what is never written,
//! whose licences we carry, and that both migration folders say the same. Each rule has a test that shows it can fail.
//! The rules are HOUSE.md's; a change of mind is made there first, then here.

mod layers;
mod licences;
mod migrations;
mod shape;
mod source;

use std::path::Path;

use crate::support::program::{program, shown};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with one line for each finding.
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn the_code_is_formatted() {
    let check =
        program(env!("CARGO")).args(["fmt", "--check", "--", "-l"]).current_dir(root()).output().unwrap();
    assert!(check.status.success(), "run `cargo fmt`\n{}", shown(&check));
}
