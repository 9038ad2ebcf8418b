//! The dashboard as the program serves it: to everybody under our names, as it was built, in every coding, and with what
//! keeps a page to this daemon.

use std::fs;
use std::path::Path;

use beadle::base::environment::variable;

use crate::api::node::{root, script};
use crate::api::wire::{Answer, exchange, request};
use crate::support::daemon::Daemon;
use crate::support::program::shown;

/// The screens that a link can lead to.
const LINKS: [&str; 8] = [
    "/jobs/job_12?attempt=2#L7",
    "/tasks/backup.nightly",
    "/schedules",
    "/queues",
    "/workers",
    "/incidents/incident_3",
    "/access",
    "/system",
];

/// Whether the program has it. Without Node.js it cannot, which the build server must not overlook.
pub fn is_built() -> bool {
    if beadle::web::has_dashboard() {
        return true;
    }
    assert!(variable("CI").as_deref() != Some("true"), "CI=true, but the program has no dashboard");
    println!(
        "skipped: the program was built without the dashboard, for want of Node.js or by BEADLE_DASHBOARD=off"
    );
    false
}

fn get(daemon: &Daemon, path: &str, fields: &[(&str, &str)]) -> Answer {
    let path = path.split('#').next().unwrap_or_default();
    exchange(daemon.address(), &request(daemon.address(), &format!("GET {path}"), fields, ""))
}

#[test]
fn the_page_comes_without_a_token_at_every_address_and_may_do_little() {
    if !is_built() {
        return;
    }
    let daemon = Daemon::start();
    let index = get(&daemon, "/", &[]);
    assert_eq!((index.status, index.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = index.field("content-security-policy").unwrap_or_default();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.split("; ").any(|found| found == part), "no {part} in {policy}");
    }
    assert_eq!(index.field("cross-origin-opener-policy"), Some("same-origin"));
    assert_eq!(index.field("referrer-policy"), Some("no-referrer"));
    // What the policy would refuse is not there: scripts and handlers in the page, and other hosts.
    let scripts: Vec<_> = index.body.split("<script").skip(1).collect();
    assert!(!scripts.is_empty(), "{}", index.body);
    assert!(scripts.iter().all(|script| script.contains(" src=\"/assets/")), "{}", index.body);
    assert!(!index.body.contains("//") && !index.body.contains(" onload="), "{}", index.body);
    for link in LINKS {
        // From a chat in the browser, where another site sends it.
        let page = get(&daemon, link, &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]);
        assert_eq!((page.status, page.body == index.body), (200, true), "{link}");
    }
}

#[test]
fn what_is_not_there_is_not_found_and_foreign_names_see_nothing() {
    if !is_built() {
        return;
    }
    let daemon = Daemon::start();
    for path in ["/assets/index.js", "/assets/", "/assets", "/jobsite", "/index.html", "/favicon.ico/x"] {
        let answer = get(&daemon, path, &[]);
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{path}");
    }
    let script = first_script(&get(&daemon, "/", &[]).body);
    for path in ["/", "/jobs/job_1", &script] {
        assert_eq!(get(&daemon, path, &[]).status, 200, "{path}");
        assert_eq!(get(&daemon, path, &[("Host", "evil.example")]).status, 421, "{path}");
        assert_eq!(get(&daemon, path, &[("Origin", "http://evil.example")]).status, 403, "{path}");
    }
    let stolen = get(&daemon, &script, &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]);
    assert_eq!(stolen.status, 403, "a foreign page may not even load our script");
}

/// The path of the page's first script.
fn first_script(page: &str) -> String {
    let (_, rest) = page.split_once(" src=\"").expect("the page has a script");
    rest.split('"').next().expect("the name ends").to_owned()
}

/// The paths of the dashboard as its router writes them.
fn routes() -> Vec<String> {
    let router = root().join("dashboard/src/lib/router.svelte.ts");
    let text = fs::read_to_string(router).expect("the dashboard has a router");
    let (_, rest) = text.split_once("export const paths = {").expect("it lists its paths");
    let (list, _) = rest.split_once('}').expect("the list ends");
    list.split('\'').skip(1).step_by(2).map(|path| path.replace(':', "some-")).collect()
}

#[test]
fn every_screen_of_the_router_has_an_address() {
    if !is_built() {
        return;
    }
    let daemon = Daemon::start();
    let index = get(&daemon, "/", &[]).body;
    let routes = routes();
    assert!(routes.len() > 10, "{routes:?}");
    for path in routes {
        assert_eq!(get(&daemon, &path, &[]).body, index, "{path}");
    }
}

/// Debian's browser; `None`, with a printed line, when there is none here.
pub fn chromium() -> Option<&'static str> {
    let found =
        ["/usr/bin/chromium", "/usr/bin/google-chrome"].into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        assert!(variable("CI").as_deref() != Some("true"), "CI=true, but there is no Chromium");
        println!("skipped: there is no /usr/bin/chromium");
    }
    found
}

#[test]
fn the_playground_runs_in_a_browser_and_breaks_no_policy() {
    if !is_built() {
        return;
    }
    let (Some(mut script), Some(browser)) = (script("playground.mjs"), chromium()) else { return };
    let daemon = Daemon::start();
    let run = script.env("URL", daemon.url()).env("TOKEN", daemon.token()).env("CHROMIUM", browser);
    let output = run.env("HOME", daemon.directory()).output().expect("node starts");
    assert!(output.status.success(), "{}\n--- daemon\n{}", shown(&output), daemon.log());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("9 of 9 checks passed"), "{}", shown(&output));
}

#[test]
fn every_file_is_the_same_in_every_coding_and_is_not_sent_twice() {
    if !is_built() {
        return;
    }
    let Some(mut script) = script("pages.mjs") else { return };
    let daemon = Daemon::start();
    let output = script.env("URL", daemon.url()).output().expect("node starts");
    assert!(output.status.success(), "{}\n--- daemon\n{}", shown(&output), daemon.log());
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(text.lines().any(|line| line.ends_with("files passed")), "{}", shown(&output));
}
