//! What programs really write before they fail, and the line of it that a person would read out.

use super::*;

fn picked(stderr: &str, stdout: &str) -> Option<String> {
    let mut line = ErrorLine::default();
    for (stream, text) in [(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)] {
        for part in text.split_inclusive('\n') {
            let bare = part.strip_suffix('\n').unwrap_or(part);
            line.hear(stream, bare.as_bytes(), bare.len() < part.len());
        }
    }
    line.pick()
}

#[test]
fn the_line_that_tells_why_is_found_among_frames_advice_and_summaries() {
    for (stderr, expected) in [
        (
            "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\n    raise Boom(\"x\")\napp.Boom: out of stock\n",
            "app.Boom: out of stock",
        ),
        (
            "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 2\nValueError: b\nclosing the pool\n",
            "ValueError: b",
        ),
        (
            "thread 'main' panicked at src/main.rs:2:5:\nthe index is 9\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
            "thread 'main' panicked at src/main.rs:2:5: the index is 9",
        ),
        (
            "Error: reading the plan\n\nCaused by:\n    No such file or directory (os error 2)\n",
            "Caused by: No such file or directory (os error 2)",
        ),
        (
            "error[E0308]: mismatched types\n --> src/main.rs:2:5\nerror: aborting due to 1 previous error\nFor more information about this error, try `rustc --explain E0308`.\nerror: could not compile `x` (bin \"x\") due to 1 previous error\n",
            "error[E0308]: mismatched types",
        ),
        (
            "/srv/app.js:1\nthrow new Error('boom')\n^\n\nError: boom\n    at Object.<anonymous> (/srv/app.js:1:7)\n    at raiseError (node:internal/errors:405:5)\n\nNode.js v20.1.0\n",
            "Error: boom",
        ),
        (
            "panic: assignment to entry in nil map\n\ngoroutine 1 [running]:\nmain.fatal()\n\t/srv/main.go:3 +0x1d\nexit status 2\n",
            "panic: assignment to entry in nil map",
        ),
        (
            "Exception in thread \"main\" java.lang.RuntimeException: a\n\tat App.main(App.java:5)\nCaused by: java.io.IOException: disk gone\n\tat App.readOrThrowException(App.java:9)\n\t... 1 more\n",
            "Caused by: java.io.IOException: disk gone",
        ),
        (
            "a.c:1:5: error: expected ';' before 'x'\nmake: *** [Makefile:3: a.o] Error 1\n",
            "a.c:1:5: error: expected ';' before 'x'",
        ),
        ("make: *** [Makefile:3: a.o] Error 1\n", "make: *** [Makefile:3: a.o] Error 1"),
        (
            "rsync: [sender] link_stat \"/a\" failed: No such file or directory (2)\nrsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1338)\n",
            "rsync: [sender] link_stat \"/a\" failed: No such file or directory (2)",
        ),
        (
            "npm ERR! code E404\nnpm ERR! 404 Not Found - GET https://registry.example/foo\nnpm ERR! It was specified like this\nnpm ERR! A complete log of this run can be found in: /a\n",
            "npm ERR! 404 Not Found - GET https://registry.example/foo",
        ),
        (
            "2024-01-01 ERROR cannot reach the bank\n2024-01-01 INFO shutting down, last error was kept\n",
            "2024-01-01 ERROR cannot reach the bank",
        ),
        ("sh: 1: frobnicate: not found\n", "sh: 1: frobnicate: not found"),
        (
            "connecting\nssh: connect to host h port 22: Connection refused\ngiving it up\n",
            "ssh: connect to host h port 22: Connection refused",
        ),
        ("0 errors, 0 failed\nno errors found\nfailed=0\nbye\n", "bye"),
        ("a default was used\nthe end\n", "the end"),
        ("\u{1b}[31mfatal: bad object\u{1b}[0m\n\n", "fatal: bad object"),
        (" 10%\r 50%\rerror: the line is gone\r\n", "error: the line is gone"),
        ("first\nno newline at the end: failed", "no newline at the end: failed"),
        ("plain\n\u{0}\n", "\u{fffd}"),
    ] {
        assert_eq!(picked(stderr, "").as_deref(), Some(expected), "{stderr}");
    }
}

#[test]
fn the_error_output_comes_before_the_other_one() {
    assert_eq!(picked("a warning\n", "error: no\nlast\n").as_deref(), Some("a warning"));
    assert_eq!(picked(" \n\n", "error: no\nlast\n").as_deref(), Some("error: no"));
    assert_eq!(
        picked("", "E       assert 1 == 2\n=== 1 failed in 0.1s ===\n").as_deref(),
        Some("E       assert 1 == 2")
    );
    assert_eq!(picked("", ""), None);
}

#[test]
fn pieces_of_a_line_are_one_line_and_it_is_never_too_long() {
    let mut line = ErrorLine::default();
    for _ in 0..1_000 {
        line.hear(LogStream::Stderr, "\u{e9}rror: ".as_bytes(), false);
    }
    line.hear(LogStream::System, b"error: a remark of the daemon", true);
    let picked = line.pick().unwrap();
    assert!(picked.len() <= ERROR_LINE_BYTES_MAX && picked.starts_with("\u{e9}rror: \u{e9}rror"), "{picked}");
}
