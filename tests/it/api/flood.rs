//! A command that writes without end: its beginning and its end are kept, what lies between is counted, and the
//! daemon stays small.

use serde_json::{Value, json};

use crate::api::memory;
use crate::support::daemon::{Daemon, string};

/// Lines that are written.
const LINES: usize = 100_000;
/// Bytes of a line with its newline.
const LINE_BYTES: usize = 200;
/// All of it.
const WRITTEN: usize = LINES * LINE_BYTES;
/// What may be kept of an attempt, as the daemon is told.
const CAP_BYTES: usize = 6 * 1024 * 1024;
/// Chunks are dropped whole: the last one may reach over the cap by this much.
const CHUNK_BYTES_MAX: usize = 5 * 1024 * 1024;
/// How much the daemon's memory may grow, its peak included.
const GROWTH_LIMIT_KIB: u64 = 64 * 1024;

const PAGE: &str = "query ($id: ID!, $after: LogCursor) {
  job(id: $id) { log(first: 1000, after: $after) {
    lines { text stream isTruncated } cursor hasMore isComplete droppedBytes
  } }
}";

/// A number that travels as a string.
fn big(value: &Value) -> usize {
    string(value).parse().unwrap_or_else(|why| panic!("{value}: {why}"))
}

/// What all pages of a log say.
struct Kept {
    lines: Vec<String>,
    dropped: usize,
    /// The lines' indexes before which something is missing.
    gaps: Vec<usize>,
}

fn read_all(daemon: &Daemon, id: &str) -> Kept {
    let mut kept = Kept { lines: Vec::new(), dropped: 0, gaps: Vec::new() };
    let mut after = Value::Null;
    loop {
        let answer = daemon.graphql(PAGE, json!({"id": id, "after": after}));
        let page = &answer["job"]["log"];
        let dropped = big(&page["droppedBytes"]);
        for line in page["lines"].as_array().expect("a page has lines") {
            assert_eq!((&line["stream"], &line["isTruncated"]), (&json!("STDOUT"), &json!(false)));
            let text = string(&line["text"]);
            let number: usize = text.parse().unwrap_or_else(|why| panic!("{text:?}: {why}"));
            let before =
                kept.lines.last().map_or(0, |last: &String| last.parse().expect("it was read before"));
            if number != before + 1 {
                kept.gaps.push(kept.lines.len());
                assert!(dropped > 0, "from line {before} to {number} without a word");
            }
            kept.lines.push(text);
        }
        kept.dropped += dropped;
        after = page["cursor"].clone();
        if page["hasMore"] != json!(true) {
            assert_eq!(page["isComplete"], json!(true));
            return kept;
        }
    }
}

/// Pages of at most 1,000 lines that end exactly behind `count` lines.
fn steps(count: usize) -> impl Iterator<Item = usize> {
    std::iter::repeat_n(1_000, count / 1_000).chain([count % 1_000]).filter(|first| *first > 0)
}

#[test]
fn a_flood_keeps_its_beginning_and_its_end_and_counts_the_rest() {
    let daemon = Daemon::start_with(&["--log-attempt-cap", "6MiB"]);
    daemon.wait_final(&daemon.enqueue(&["/bin/true"]));
    let before = memory::kib(daemon.pid(), "VmRSS");
    let format = format!("%0{}.0f", LINE_BYTES - 1);
    let id = daemon.enqueue(&["seq", "-f", &format, "1", &LINES.to_string()]);
    let watch = "subscription ($id: ID!) { job(id: $id) { job { state attempts { nodes { logBytes droppedLogBytes } } } } }";
    let last = daemon.subscribe(watch, &json!({ "id": id })).last().expect("a job tells at once");
    let job = &last["data"]["job"]["job"];
    let growth = memory::kib(daemon.pid(), "VmHWM").saturating_sub(before);
    assert_eq!(job["state"], json!("SUCCEEDED"), "{job:#}");
    let attempt = &job["attempts"]["nodes"][0];
    assert_eq!(big(&attempt["logBytes"]), WRITTEN);

    let kept = read_all(&daemon, &id);
    let bytes = kept.lines.len() * LINE_BYTES;
    println!("kept {bytes} bytes, dropped {}, gaps {:?}, memory +{growth} KiB", kept.dropped, kept.gaps);
    assert!(kept.lines.iter().all(|line| line.len() == LINE_BYTES - 1), "a line is cut");
    assert!(kept.dropped > 0, "a flood fits nowhere");
    assert_eq!(bytes + kept.dropped, WRITTEN, "kept and dropped are all there was");
    assert_eq!(big(&attempt["droppedLogBytes"]), kept.dropped);
    assert_eq!(kept.gaps.len(), 1, "one gap: {:?}", kept.gaps);
    let number = |line: Option<&String>| line.expect("something is kept").parse::<usize>().expect("a number");
    assert_eq!(number(kept.lines.first()), 1);
    assert_eq!(number(kept.lines.last()), LINES);
    assert!(kept.gaps[0] * LINE_BYTES >= 1024 * 1024, "the first MiB is kept");
    assert!(bytes <= CAP_BYTES + CHUNK_BYTES_MAX, "{bytes} bytes are kept");
    assert!(growth < GROWTH_LIMIT_KIB, "the daemon's memory grew by {growth} KiB");

    // A page that ends right before the gap leaves it to the next one.
    let edge = |first: usize, after: &Value| {
        let query = "query ($id: ID!, $first: Int, $after: LogCursor) {
          job(id: $id) { log(first: $first, after: $after) { lines { text } cursor droppedBytes } }
        }";
        daemon.graphql(query, json!({"id": id, "first": first, "after": after}))["job"]["log"].clone()
    };
    let mut before_gap = Value::Null;
    for first in steps(kept.gaps[0]) {
        let page = edge(first, &before_gap);
        assert_eq!(big(&page["droppedBytes"]), 0, "the gap is told too early");
        before_gap = page["cursor"].clone();
    }
    let page = edge(1, &before_gap);
    assert_eq!(page["lines"][0]["text"], json!(kept.lines[kept.gaps[0]]));
    assert_eq!(big(&page["droppedBytes"]), kept.dropped);

    // A follower sees the same.
    let (mut followed, mut dropped) = (0, 0);
    let follow = "subscription ($id: ID!) { jobLog(id: $id) { lines { text } droppedBytes } }";
    for result in daemon.subscribe(follow, &json!({ "id": id })) {
        let batch = &result["data"]["jobLog"];
        followed += batch["lines"].as_array().map_or(0, Vec::len);
        dropped += big(&batch["droppedBytes"]);
    }
    assert_eq!((followed, dropped), (kept.lines.len(), kept.dropped));
    let newest = "query ($id: ID!) { job(id: $id) { log(last: 3) { lines { text } } } }";
    let newest = daemon.graphql(newest, json!({ "id": id }));
    let texts: Vec<String> = newest["job"]["log"]["lines"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| string(&line["text"]))
        .collect();
    assert_eq!(texts, kept.lines[kept.lines.len() - 3..]);
}
