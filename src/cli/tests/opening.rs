//! `open`: what is printed, and when a browser is asked for.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

fn viewer() -> Reply {
    Reply::data(&json!({ "viewer": { "tokenName": "ada" } }))
}

/// `open` on a terminal, with a screen and a directory of its own.
fn on_a_screen(words: &str, runtime: &Path, browse: fn(&Path) -> Result<(), String>) -> Ran {
    let daemon = FakeDaemon::start(vec![viewer()]);
    let variables = [
        ("BEADLE_URL", daemon.url.as_str()),
        ("BEADLE_TOKEN", "secret"),
        ("TERM", "xterm"),
        ("WAYLAND_DISPLAY", "wayland-0"),
        ("XDG_RUNTIME_DIR", runtime.to_str().unwrap()),
    ];
    let environment: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = program(
        std::iter::once("beadle").chain(words.split(' ')).map(OsString::from),
        &environment,
        Daemon { browse, ..no_daemon() },
        PATIENT,
        Streams { out: &mut out, err: &mut err, is_live: false, is_drawn: true },
    );
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out, format!("{}/#token=secret\n", daemon.url));
    Ran { code, out, err: String::from_utf8(err).unwrap() }
}

#[test]
fn the_link_is_the_whole_output_and_a_refused_token_is_told() {
    let daemon = FakeDaemon::start(vec![viewer(), Reply::error(401, "UNAUTHENTICATED")]);
    let ran = beadle(&daemon, "open");
    assert_eq!((ran.code, ran.err.as_str()), (exit::OK, ""));
    assert_eq!(ran.out, format!("{}/#token=secret\n", daemon.url));
    assert_eq!(beadle(&daemon, "open").code, exit::DENIED);
}

#[test]
fn a_browser_gets_a_private_page_that_leads_to_the_link() {
    let runtime = tempfile::tempdir().unwrap();
    let page = runtime.path().join("beadle-open.html");
    let ran = on_a_screen("open", runtime.path(), |page| {
        assert!(page.ends_with("beadle-open.html"));
        Ok(())
    });
    assert_eq!((ran.code, ran.err.as_str()), (exit::OK, "beadle: your browser opens it as ada\n"));
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains(&format!("content=\"0; url={}\"", ran.out.trim_end())), "{text}");
    assert_eq!(page.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_browser_that_does_not_start_leaves_the_link() {
    let runtime = tempfile::tempdir().unwrap();
    let ran = on_a_screen("open", runtime.path(), |_| Err("no such program".to_owned()));
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (exit::OK, "beadle: open it in your browser yourself: no such program\n")
    );
    let unasked = |_: &Path| -> Result<(), String> { panic!("nobody asked for a browser") };
    assert_eq!(on_a_screen("open --no-browser", runtime.path(), unasked).err, "");
}
