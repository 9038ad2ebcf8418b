//! The ways to the dashboard: the link that the daemon prints and `beadle open` prints again, and who must not see it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::pages::is_built;
use crate::support::daemon::{Daemon, beadle, send};
use crate::support::printed::{gather, text};
use crate::support::program::shown;
use crate::support::wait::{PATIENCE, until};

/// What ends the banner.
const LAST_LINE: &str = "beadle run --follow";

/// A daemon in the hands of the test. Dropping it kills it.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address and the token of a link.
fn parts(link: &str) -> (&str, &str) {
    let (url, token) = link.split_once("/#token=").unwrap_or_else(|| panic!("no token in {link}"));
    (url.strip_prefix("http://").expect("it is a link"), token)
}

/// Starts a daemon and gives its banner, and its log so far.
fn banner(mut serve: Command, variables: &[(&str, &str)]) -> (Held, String, String) {
    let child = serve
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Held(child.expect("the daemon's program starts"));
    let out = gather(child.0.stdout.take().expect("asked for"));
    let log = gather(child.0.stderr.take().expect("asked for"));
    let banner = until("the banner", PATIENCE, || Some(text(&out)).filter(|out| out.contains(LAST_LINE)));
    (child, banner, text(&log))
}

/// The link in a banner.
fn link(banner: &str) -> &str {
    let lines = banner.lines().filter_map(|line| line.trim().strip_prefix("dashboard "));
    lines.map(str::trim).next().unwrap_or_else(|| panic!("no link in {banner}"))
}

#[test]
fn the_link_of_the_banner_and_of_open_lets_in_and_stands_in_no_log() {
    if !is_built() {
        return;
    }
    // Both starts: the one that makes the token, and one that finds it.
    let mut daemon = Daemon::prepared(&[]);
    let (first, made, log) = banner(daemon.serve_command(), &[]);
    let token = fs::read_to_string(daemon.data().join("admin.token")).expect("the first start writes it");
    let (address, secret) = parts(link(&made));
    assert_eq!(secret, token.trim());
    let answer = send(address, secret, "{ viewer { tokenName } }", &json!({})).expect("an answer");
    assert_eq!(answer["data"]["viewer"]["tokenName"], json!("admin"), "{answer}");
    assert!(!log.contains(secret), "the token is in the log");
    drop(first);

    daemon.try_start(&[]).expect("it starts again");
    let opened = daemon.cli(&["open"]);
    let printed = String::from_utf8_lossy(&opened.stdout).into_owned();
    assert!(opened.status.success(), "{}", shown(&opened));
    assert_eq!(parts(printed.trim_end()), (daemon.address(), token.trim()));
    let opened = daemon.cli(&["open", "--json"]);
    let data: Value = serde_json::from_slice(&opened.stdout).expect("JSON");
    assert_eq!(data, json!({ "link": printed.trim_end() }));
    let refused =
        daemon.cli_command(&["open"]).env("BEADLE_TOKEN", "0".repeat(64)).output().expect("it runs");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(4), 0), "{}", shown(&refused));
    assert!(!daemon.log().contains(token.trim()), "the token is in the log");
}

#[test]
fn a_banner_that_the_service_manager_keeps_holds_no_token() {
    if !is_built() {
        return;
    }
    let daemon = Daemon::prepared(&[]);
    let path = daemon.directory().join("journal");
    let journal = File::create(&path).expect("it can be made");
    let found = journal.metadata().expect("it is there");
    let named = format!("{}:{}", found.dev(), found.ino());
    let serve = daemon
        .serve_command()
        .env("JOURNAL_STREAM", named)
        .stdin(Stdio::null())
        .stdout(journal)
        .stderr(Stdio::null())
        .spawn();
    let held = Held(serve.expect("the daemon's program starts"));
    let kept = until("the banner", PATIENCE, || {
        fs::read_to_string(&path).ok().filter(|kept| kept.contains(LAST_LINE))
    });
    assert!(kept.contains("`beadle open` prints the link") && !kept.contains("token="), "{kept}");
    // The variable alone, from whoever started us, is no reason: somebody reads this.
    drop(held);
    let (_child, banner, _) = banner(daemon.serve_command(), &[("JOURNAL_STREAM", "8:1")]);
    parts(link(&banner));
}

#[test]
fn a_daemon_on_all_addresses_is_reached_by_one_that_may_be_called() {
    if !is_built() {
        return;
    }
    let home = TempDir::with_prefix("beadle-").expect("a temporary directory can be made");
    let mut serve = beadle();
    serve
        .args(["serve", "--behind-proxy", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(home.path().join("data"));
    let (_child, banner, _) = banner(serve, &[]);
    let (address, token) = parts(link(&banner));
    assert!(address.starts_with("127.0.0.1:"), "{banner}");
    let answer = send(address, token, "{ viewer { tokenName } }", &json!({})).expect("an answer");
    assert_eq!(answer["data"]["viewer"]["tokenName"], json!("admin"), "{answer}");
}
