//! The committed schema is the one that serves, says of everything what it is, and every document we ship fits it.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::api::node::{root, script};
use crate::support::daemon::{Daemon, beadle};
use crate::support::program::shown;

fn committed() -> String {
    fs::read_to_string(root().join("schema.graphql")).expect("schema.graphql is committed")
}

#[test]
fn the_committed_schema_is_what_the_program_prints() {
    let output = beadle().arg("schema").output().expect("the program starts");
    assert!(output.status.success(), "{}", shown(&output));
    let (printed, committed) = (String::from_utf8(output.stdout).expect("a schema is text"), committed());
    if printed == committed {
        return;
    }
    let pairs = printed.lines().zip(committed.lines()).enumerate();
    let place = pairs.into_iter().find(|(_, (new, old))| new != old);
    panic!(
        "the schema has changed, first at {place:?}; when that is meant, run `cargo run -- schema > schema.graphql`"
    );
}

#[test]
fn the_served_schema_is_the_committed_one() {
    let daemon = Daemon::start();
    let mut answer = ureq::get(format!("{}/schema.graphql", daemon.url()))
        .header("Authorization", format!("Bearer {}", daemon.token()))
        .call()
        .expect("the daemon answers");
    assert_eq!(answer.body_mut().read_to_string().expect("text"), committed());
}

#[test]
fn every_document_is_valid_and_everything_is_described() {
    let Some(mut script) = script("documents.mjs") else { return };
    let output = script.output().expect("node starts");
    assert!(output.status.success(), "{}", shown(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let (documents, rest) = text.trim().split_once(" documents, ").expect("a count of documents");
    let types = rest.strip_suffix(" types: all valid").expect("a count of types");
    let queries = fs::read_dir(root().join("src/client/queries")).expect("the client's documents").count();
    let (documents, types): (usize, usize) = (documents.parse().unwrap(), types.parse().unwrap());
    assert!(documents > queries, "{documents} documents, but the client alone has {queries}");
    assert!(types > 100, "only {types} types: is this the whole schema?");
}

/// Files by path.
type Files<'a> = &'a [(&'a str, &'a str)];

/// What the script says of a directory with these files beside a schema; `None` when it cannot run here.
fn judged(schema: &str, files: Files<'_>) -> Option<Output> {
    let mut script = script("documents.mjs")?;
    let directory = TempDir::with_prefix("beadle-documents-").expect("a temporary directory can be made");
    for (path, text) in [("schema.graphql", schema)].iter().chain(files) {
        let path: &Path = &directory.path().join(path);
        fs::create_dir_all(path.parent().expect("it lies in the directory")).expect("our own directory");
        fs::write(path, text).expect("our own directory");
    }
    Some(script.arg(directory.path()).output().expect("node starts"))
}

#[test]
fn the_check_of_documents_can_fail() {
    let schema = "\"Reading.\"\ntype Query {\n  \"One.\"\n  a(\"Two.\" b: Int): Int\n}\n";
    let good = ("examples/good.graphql", "query ($b: Int) { a(b: $b) }");
    let Some(output) = judged(schema, &[good]) else { return };
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 documents, 1 types: all valid\n");
    let bare = |what: &str| schema.replacen(what, "", 1);
    let enumeration = format!("{schema}\"E.\"\nenum E {{ X }}\n");
    let input = format!("{schema}\"I.\"\ninput I {{ x: Int }}\n");
    let cases: [(&str, Files<'_>, &str); 11] = [
        (
            schema,
            &[good, ("src/client/queries/bad.graphql", "{\n  nope\n}")],
            "src/client/queries/bad.graphql:2: ",
        ),
        (schema, &[good, ("examples/bad.graphql", "{ a(b: \"x\") }")], "examples/bad.graphql:1: "),
        (schema, &[good, ("examples/broken.graphql", "{ a")], "examples/broken.graphql: Syntax Error"),
        (schema, &[good, ("README.md", "# B\n\n```graphql\n{ nope }\n```\n")], "README.md:3"),
        (schema, &[], "there is no document"),
        ("type Query {", &[good], "schema.graphql: Syntax Error"),
        (&bare("\"Reading.\""), &[good], "schema.graphql: Query has no description"),
        (&bare("\"One.\""), &[good], "schema.graphql: Query.a has no description"),
        (&bare("\"Two.\""), &[good], "schema.graphql: Query.a(b:) has no description"),
        (&enumeration, &[good], "schema.graphql: E.X has no description"),
        (&input, &[good], "schema.graphql: I.x has no description"),
    ];
    for (schema, files, sign) in cases {
        let output = judged(schema, files).expect("it ran before");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(sign), "looked for {sign:?}: {}", shown(&output));
    }
}
