//! The memory of judged documents from outside: what is known of a text must never answer for a caller, a value or a
//! failure.

use super::toy::{ADMIN, Open, READER, open};

/// How often a document is sent: it is judged, then judged and kept, then known.
const TIMES: usize = 4;

async fn ask_as(door: &Open, token: &str, body: &str) -> (u16, String) {
    let headers = format!(
        "authorization: Bearer {token}\r\ncontent-type: application/json\r\naccept: application/graphql-response+json\r\n"
    );
    let reply = door.post(&headers, body).await;
    (reply.status, reply.body)
}

async fn is_always(door: &Open, body: &str) -> (u16, String) {
    let first = ask_as(door, ADMIN, body).await;
    for _ in 1..TIMES {
        assert_eq!(ask_as(door, ADMIN, body).await, first, "{body}");
    }
    first
}

#[tokio::test]
async fn a_known_document_is_still_asked_for_its_grant() {
    let door = open().await;
    let body = r#"{"query":"mutation{jobEnqueue(input:{run:{command:{exec:{argv:[\"/bin/true\"]}}}}){userErrors{message}}}"}"#;
    assert_eq!(is_always(&door, body).await.0, 200);
    let executed = door.toy.executed();
    assert_eq!(executed, TIMES);
    for _ in 0..TIMES {
        let (status, text) = ask_as(&door, READER, body).await;
        assert!(status == 403 && text.contains("FORBIDDEN"), "{status} {text}");
        let (status, text) = ask_as(&door, "nobody", body).await;
        assert!(status == 401 && text.contains("UNAUTHENTICATED"), "{status} {text}");
    }
    assert_eq!(door.toy.executed(), executed);
}

#[tokio::test]
async fn values_of_variables_are_checked_whenever_they_come() {
    let door = open().await;
    let body = |variables: &str| {
        format!(
            r#"{{"query":"query ($n: Int!, $off: Boolean = false) {{ double(n: $n) @skip(if: $off) }}","variables":{variables}}}"#
        )
    };
    for (n, answer) in [(2, 4), (3, 6), (4, 8)] {
        let (_, text) = ask_as(&door, ADMIN, &body(&format!(r#"{{"n":{n}}}"#))).await;
        assert_eq!(text, format!(r#"{{"data":{{"double":{answer}}}}}"#));
    }
    assert_eq!(ask_as(&door, ADMIN, &body(r#"{"n":1,"off":true}"#)).await.1, r#"{"data":{}}"#);
    for variables in [r#"{"n":"2"}"#, r#"{"n":null}"#, "{}", "null", r#"{"n":2.5}"#, r#"{"n":1,"off":"yes"}"#]
    {
        let (status, text) = ask_as(&door, ADMIN, &body(variables)).await;
        assert!(status == 400 && text.contains("BAD_USER_INPUT") && !text.contains("data"), "{text}");
    }
    // One that never came before says the same.
    let fresh = body(r#"{"n":"2"}"#).replace("double", "twice: double");
    let known = ask_as(&door, ADMIN, &body(r#"{"n":"2"}"#)).await.1;
    assert_eq!(ask_as(&door, ADMIN, &fresh).await.1, known);
}

#[tokio::test]
async fn failures_are_judged_each_time_and_say_the_same() {
    let door = open().await;
    for document in [
        "{ nope }",
        "{ double }",
        "{ double(n: 1, m: 2) }",
        r#"{ double(n: \"1\") }"#,
        "{ daemon }",
        "{ daemon { version ...F } }",
        "query ($n: Int!, $m: Int) { double(n: $n) }",
        "{ a: double(n: 1) a: double(n: 2) }",
        "subscription { nope }",
    ] {
        let body = format!(r#"{{"query":"{document}","variables":{{"n":1}}}}"#);
        let (status, text) = is_always(&door, &body).await;
        assert!((400..=406).contains(&status), "{document}: {status}");
        assert!(text.contains("GRAPHQL_VALIDATION_FAILED") || status == 406, "{document}: {text}");
    }
    assert_eq!(door.toy.executed(), 0);
}

#[tokio::test]
async fn the_operation_that_is_named_runs_however_well_the_text_is_known() {
    let door = open().await;
    let named = |name: &str| {
        format!(
            r#"{{"query":"query A {{ double(n: 1) }} query B {{ double(n: 2) }}","operationName":{name}}}"#
        )
    };
    for _ in 0..TIMES {
        assert_eq!(ask_as(&door, ADMIN, &named(r#""A""#)).await.1, r#"{"data":{"double":2}}"#);
        assert_eq!(ask_as(&door, ADMIN, &named(r#""B""#)).await.1, r#"{"data":{"double":4}}"#);
        assert_eq!(ask_as(&door, ADMIN, &named(r#""C""#)).await.0, 400);
        assert_eq!(ask_as(&door, ADMIN, &named("null")).await.0, 400);
    }
}
