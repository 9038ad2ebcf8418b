//! Tests of the tables of rights, against the schema that serves.

use async_graphql::parser::parse_query;

use super::*;
use crate::client::operations::DOCUMENTS;
use crate::domain::access::Grant;
use crate::domain::id::TokenId;

fn viewer(grants: &[Grant]) -> Viewer {
    Viewer { token_id: TokenId(1), token_name: "t".to_owned(), grants: grants.to_vec(), expires_at: None }
}

fn with(verbs: &[GrantVerb]) -> Viewer {
    viewer(&verbs.iter().map(|verb| Grant::of(*verb)).collect::<Vec<_>>())
}

fn ci() -> Viewer {
    let own = Grant { own_jobs_only: true, ..Grant::of(GrantVerb::Read) };
    viewer(&[own, Grant::of(GrantVerb::Enqueue), Grant::of(GrantVerb::Cancel)])
}

/// What the door says of a document whose root fields are allowed.
fn judged(viewer: &Viewer, text: &str) -> Result<(), String> {
    let document = parse_query(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    permit(viewer, &Asked { document: &document, operation_name: None, root_fields: &[] })
}

#[test]
fn every_root_field_of_the_schema_needs_a_grant() {
    let mut count = 0;
    for root in ["Query", "Mutation", "Subscription"] {
        for field in SHAPE[root].keys() {
            count += 1;
            assert!(grant_for(field).is_some(), "{root}.{field} needs no grant");
            assert!(
                permit_roots(&with(&[]), &[field]).is_err(),
                "{root}.{field} is open to a token without grants"
            );
        }
    }
    assert!(count > 30);
}

#[test]
fn a_token_for_jobs_cannot_write_command_lines() {
    assert!(permit_roots(&with(&[GrantVerb::Operate]), &["taskPut"]).is_err());
    assert!(permit_roots(&with(&[GrantVerb::Operate, GrantVerb::Command]), &["taskPut"]).is_ok());
    assert!(permit_roots(&with(&[GrantVerb::Admin]), &["taskPut", "jobEnqueue"]).is_ok());
}

#[test]
fn what_is_listed_as_open_exists() {
    for (kind, fields) in NARROW.iter().chain(LEADS) {
        for field in *fields {
            assert!(SHAPE[*kind].contains_key(*field), "{kind}.{field} does not exist");
        }
    }
}

#[test]
fn every_root_field_that_lists_others_things_is_closed_to_a_token_for_its_own_jobs() {
    let open: Vec<_> = ["Query", "Subscription"]
        .iter()
        .flat_map(|root| SHAPE[*root].iter().map(move |(field, next)| (root, field, next)))
        .filter(|(root, field, next)| is_open(root, field, !SHAPE.contains_key(*next)))
        .map(|(_, field, _)| field.as_str())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let expected = [
        "daemon",
        "eventCursor",
        "events",
        "job",
        "jobCounts",
        "jobFollow",
        "jobLog",
        "jobs",
        "node",
        "viewer",
    ];
    assert_eq!(open, expected);
}

#[test]
fn no_way_round_leads_to_a_closed_field() {
    for (text, field) in [
        ("{ job(id: 1) { queue { name waitingCount } } }", "Queue.waitingCount"),
        ("{ job(id: 1) { task { schedules { id } } } }", "Task.schedules"),
        ("{ job(id: 1) { attempts { nodes { worker { id } } } } }", "Attempt.worker"),
        ("{ job(id: 1) { schedule { ticks { nodes { count } } } } }", "Schedule.ticks"),
        ("{ daemon { storeBytes } }", "Daemon.storeBytes"),
        ("{ events { events { peer } } }", "Event.peer"),
        ("{ tasks { nodes { id } } }", "Query.tasks"),
        ("{ x: health { status } }", "Query.health"),
        ("{ ... { queues { nodes { id } } } }", "Query.queues"),
        ("{ ... on Query { workers { nodes { id } } } }", "Query.workers"),
        ("{ node(id: 1) { ... on Task { schedules { id } } } }", "Task.schedules"),
        ("{ node(id: 1) { ... on Worker { name } } }", "Worker.name"),
        (
            "{ ...a } fragment a on Query { ...b } fragment b on Query { queues { nodes { id } } }",
            "Query.queues",
        ),
        ("subscription { health { status } }", "Subscription.health"),
        (
            "subscription { events { events { subject { ... on Queue { runningCount } } } } }",
            "Queue.runningCount",
        ),
        (
            "mutation { jobCancel(input: {id: 1}) { job { queue { oldestWaitingAt } } } }",
            "Queue.oldestWaitingAt",
        ),
    ] {
        let message = judged(&ci(), text).expect_err(text);
        assert!(message.starts_with(&format!("{field} needs the grant READ")), "{text}: {message}");
        assert!(judged(&with(&[GrantVerb::Read]), text).is_ok(), "{text}");
    }
}

#[test]
fn the_command_line_works_with_a_token_for_its_own_jobs() {
    for name in [
        "attempt_log",
        "events",
        "events_follow",
        "event_cursor",
        "job",
        "jobs",
        "job_attempts",
        "job_cancel",
        "job_enqueue",
        "job_follow",
        "job_log",
        "job_log_follow",
        "job_retry",
        "job_wait",
    ] {
        let (_, text) = DOCUMENTS.iter().find(|(known, _)| *known == name).expect(name);
        assert_eq!(judged(&ci(), text), Ok(()), "{name}");
    }
}
