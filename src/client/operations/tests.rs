//! Tests of the operations against canned answers.

use super::*;
use crate::client::inputs::QueuePut;

#[test]
fn every_file_beside_is_a_document_that_can_be_sent() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/queries");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let mut known: Vec<_> = DOCUMENTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    assert_eq!(files, known);
}

#[test]
fn every_document_is_one_named_operation() {
    for (name, text) in DOCUMENTS {
        let document =
            async_graphql::parser::parse_query(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let names: Vec<_> = document.operations.iter().map(|(name, _)| name.unwrap().to_string()).collect();
        let camel: String = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        assert_eq!(names, [camel], "{name}");
    }
}

#[test]
fn what_is_not_given_is_not_sent() {
    let input = JobEnqueue { priority: Some(3), ..JobEnqueue::default() };
    assert_eq!(json!(input), json!({ "run": { "task": { "name": "" } }, "priority": 3 }));
    assert_eq!(
        json!(QueuePut { name: "q".into(), concurrency_limit: None, rate_limit: None }),
        json!({ "name": "q", "concurrencyLimit": null, "rateLimit": null })
    );
    let page = PageOf { first: 2, after: None, filter: () };
    assert_eq!(page_variables(&page), json!({ "first": 2 }));
}
