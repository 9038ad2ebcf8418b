//! Owns the words by which a line speaks of an error. It knows no line's worth and remembers nothing.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// Whether a word, or two in a row, speak of an error; not "0 errors", "no errors", "failed=0".
pub(super) fn has_error_word(line: &[u8]) -> bool {
    const WORD_MAX: usize = 40;
    if !TRACES.is_match(line) {
        return false;
    }
    let mut before = Word::default();
    let mut found = false;
    let mut at = 0;
    while at < line.len() {
        if line[at] == 0x1b && line.get(at + 1) == Some(&b'[') {
            at += 2;
            while at < line.len() && !(0x40..=0x7e).contains(&line[at]) {
                at += 1;
            }
            at += 1;
            continue;
        }
        if !is_word_byte(line[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < line.len() && is_word_byte(line[at]) {
            at += 1;
        }
        let mut word = Word::default();
        for byte in &line[start..at.min(start + WORD_MAX)] {
            word.bytes[word.length] = byte.to_ascii_lowercase();
            word.length += 1;
        }
        word.is_long = at - start > WORD_MAX;
        if found {
            if word.text() != b"0" {
                return true;
            }
            // "failed=0" takes back the word that was found.
            found = false;
        } else {
            found = speaks_of_error(&before, &word);
        }
        before = word;
    }
    found
}

/// The beginning of a word in small letters.
#[derive(Clone, Copy)]
struct Word {
    bytes: [u8; 40],
    length: usize,
    is_long: bool,
}

impl Default for Word {
    fn default() -> Word {
        Word { bytes: [0; 40], length: 0, is_long: false }
    }
}

impl Word {
    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'\'' || byte >= 0x80
}

fn speaks_of_error(before: &Word, word: &Word) -> bool {
    if is_pair(before.text(), word.text()) {
        return true;
    }
    if matches!(before.text(), b"0" | b"no" | b"without" | b"zero") {
        return false;
    }
    let has_end = |end: &[u8]| !word.is_long && word.text().ends_with(end);
    let is_known = is_one_of(&STATES, word.text()) || is_one_of(&JUDGEMENTS, word.text());
    is_known || has_end(b"error") || has_end(b"exception")
}

fn is_pair(before: &[u8], word: &[u8]) -> bool {
    PAIRS.iter().any(|(first, seconds)| first.as_bytes() == before && is_one_of(seconds, word))
}

fn is_one_of(words: &[&str], word: &[u8]) -> bool {
    words.iter().any(|known| known.as_bytes() == word)
}

/// Finds what a line must hold somewhere so that a word of it can speak of an error. Most lines do not, and this look is
/// many times quicker than one at each word.
static TRACES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let pairs = PAIRS.iter().flat_map(|(first, seconds)| {
        let shortest = seconds.iter().map(|second| second.len()).min().unwrap_or(0);
        if first.len() > shortest { std::slice::from_ref(first) } else { seconds }
    });
    // Words that end in `error` or `exception` hold a state.
    let traces = STATES.iter().chain(&JUDGEMENTS).chain(pairs);
    let builder =
        AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(traces);
    builder.expect("a few short words make a small automaton")
});

/// Two words in a row that speak of an error together: the first, and what may follow it.
const PAIRS: [(&str, &[&str]); 15] = [
    (
        "not",
        &[
            "found",
            "permitted",
            "exist",
            "allowed",
            "defined",
            "declared",
            "supported",
            "valid",
            "available",
            "resolve",
            "a",
        ],
    ),
    ("no", &["such", "space", "module", "matching", "route"]),
    ("could", &["not"]),
    ("did", &["not"]),
    ("timed", &["out"]),
    ("core", &["dumped"]),
    ("caused", &["by"]),
    ("broken", &["pipe"]),
    ("connection", &["reset"]),
    ("too", &["many"]),
    ("already", &["exists"]),
    ("in", &["use"]),
    ("out", &["of"]),
    ("segmentation", &["fault"]),
    ("must", &["be"]),
];

/// What happened.
const STATES: [&str; 26] = [
    "error",
    "errors",
    "exception",
    "panic",
    "panicked",
    "fatal",
    "failed",
    "failure",
    "failures",
    "fail",
    "failing",
    "abort",
    "aborted",
    "denied",
    "refused",
    "killed",
    "unhandled",
    "uncaught",
    "overflow",
    "deadlock",
    "segfault",
    "rejected",
    "timeout",
    "terminated",
    "oom",
    "conflict",
];

/// What is wrong with something.
const JUDGEMENTS: [&str; 24] = [
    "cannot",
    "unable",
    "missing",
    "undefined",
    "unknown",
    "invalid",
    "unrecognized",
    "unreachable",
    "unexpected",
    "critical",
    "severe",
    "corrupt",
    "corrupted",
    "unauthorized",
    "forbidden",
    "unsupported",
    "illegal",
    "violates",
    "exceeded",
    "insufficient",
    "can't",
    "couldn't",
    "mismatch",
    "unresolved",
];
