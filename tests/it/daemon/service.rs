//! The daemon as a service: what it tells a service manager, over a real socket, and the unit file that is shipped.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use beadle::base::environment::variable;
use serde_json::json;
use tempfile::TempDir;

use crate::support::daemon::Daemon;
use crate::support::program::{program, program_path, shown};
use crate::support::wait::{PATIENCE, now, span, until};

/// The manager's end of the socket.
struct Manager {
    directory: TempDir,
    socket: UnixDatagram,
    /// Everything that was said, a line each.
    heard: Vec<String>,
}

impl Manager {
    fn listen() -> Manager {
        let directory = TempDir::with_prefix("beadle-manager-").expect("a temporary directory can be made");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket can be made");
        socket.set_nonblocking(true).expect("a socket of ours");
        Manager { directory, socket, heard: Vec::new() }
    }

    fn path(&self) -> String {
        self.directory.path().join("notify").display().to_string()
    }

    fn hear(&mut self) {
        let mut bytes = [0u8; 4_096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }

    fn count(&mut self, start: &str) -> usize {
        self.hear();
        self.heard.iter().filter(|line| line.starts_with(start)).count()
    }

    fn wait_for(&mut self, start: &str, count: usize) {
        until(&format!("{start} to be said"), PATIENCE, || (self.count(start) >= count).then_some(()));
    }
}

#[test]
fn a_service_manager_is_told_of_start_life_and_stop_and_jobs_know_nothing_of_it() {
    let mut manager = Manager::listen();
    let mut daemon = Daemon::start_in_environment(&[
        ("NOTIFY_SOCKET", &manager.path()),
        ("WATCHDOG_USEC", "1000000"),
        ("BEADLE_DRAIN_TIMEOUT", "20s"),
    ]);
    manager.wait_for("READY=1", 1);
    manager.wait_for("STATUS=running 0, queued 0, health OK", 1);
    manager.wait_for("WATCHDOG=1", 3);
    let id = daemon.enqueue_with(json!({"run": {"command": {
        "exec": {"argv": ["/usr/bin/env"], "inheritEnvironment": ["NOTIFY_SOCKET", "WATCHDOG_USEC"]},
    }}}));
    let ended = daemon.wait_final(&id);
    assert!(!ended.lines.is_empty());
    for (_, line) in &ended.lines {
        assert!(!line.starts_with("NOTIFY_SOCKET") && !line.starts_with("WATCHDOG"), "{line}");
    }
    let slow = daemon.enqueue(&["/bin/sleep", "2"]);
    until("the job to run", PATIENCE, || {
        let job = daemon.graphql("query ($id: ID!) { job(id: $id) { state } }", json!({ "id": slow }));
        (job["job"]["state"] == json!("RUNNING")).then_some(())
    });
    daemon.ask_to_stop();
    manager.wait_for("STOPPING=1", 1);
    manager.wait_for("EXTEND_TIMEOUT_USEC=20000000", 1);
    let alive = manager.count("WATCHDOG=1");
    // While it lets the job finish it still lives.
    manager.wait_for("WATCHDOG=1", alive + 1);
    assert_eq!(daemon.wait_ended().code(), Some(0));
    assert_eq!(manager.count("READY=1"), 1);
    println!("service: heard {} signs of life", manager.count("WATCHDOG=1"));
}

#[test]
fn a_dispatcher_that_stands_still_gives_no_sign_of_life() {
    let mut manager = Manager::listen();
    let traps = TempDir::with_prefix("beadle-traps-").expect("a temporary directory can be made");
    let trap = traps.path().join("dispatcher");
    let daemon = Daemon::start_in_environment(&[
        ("NOTIFY_SOCKET", &manager.path()),
        ("WATCHDOG_USEC", "1000000"),
        ("BEADLE_TEST_POINTS", &format!("dispatcher.tick:{}:hang", trap.display())),
        ("BEADLE_TEST_STUCK_AFTER_MS", "3000"),
        ("BEADLE_POLL_INTERVAL", "100ms"),
    ]);
    manager.wait_for("WATCHDOG=1", 2);
    fs::write(&trap, "").expect("the trap is set");
    until("the dispatcher to be caught", PATIENCE, || (!trap.exists()).then_some(()));
    // The last ones may come for the three seconds that it may stand still, and a little more on a busy machine.
    let last = until("the signs of life to end", PATIENCE, || {
        let before = manager.count("WATCHDOG=1");
        let begun = now();
        while begun.elapsed() < Duration::from_millis(2_500) {
            span(Duration::from_millis(50));
            if manager.count("WATCHDOG=1") > before {
                return None;
            }
        }
        Some(before)
    });
    assert!(last >= 2, "{last}");
    // It is stuck, but the door answers.
    assert!(daemon.send("{ health { status } }", &json!({})).is_ok());
}

#[test]
fn the_unit_file_is_one_that_systemd_takes() {
    let unit = unit("beadle.service");
    for line in [
        "Type=notify",
        "WatchdogSec=30",
        "Restart=always",
        "RestartSec=1",
        "StartLimitIntervalSec=0",
        "KillMode=mixed",
        "Delegate=yes",
        "OOMPolicy=continue",
        "StateDirectory=beadle",
        "#NoNewPrivileges=yes",
        "#MemoryDenyWriteExecute=yes",
    ] {
        assert!(unit.lines().any(|one| one == line), "{line}");
    }
    verify("beadle.service", &unit);
}

#[test]
fn so_is_the_workers_and_both_run_jobs_alike() {
    let worker = unit("beadle-worker.service");
    for line in ["Wants=network-online.target", "After=network-online.target", "Restart=always"] {
        assert!(worker.lines().any(|one| one == line), "{line}");
    }
    // What holds for jobs is the same in both.
    let told = [
        "KillMode",
        "TimeoutStopSec",
        "Delegate",
        "OOMPolicy",
        "Limit",
        "Tasks",
        "Protect",
        "Restrict",
        "Lock",
    ];
    let for_jobs = |unit: &str| -> Vec<String> {
        let is_told = |line: &&str| told.iter().any(|word| line.starts_with(word));
        unit.lines().filter(is_told).map(str::to_owned).collect()
    };
    assert_eq!(for_jobs(&worker), for_jobs(&unit("beadle.service")));
    verify("beadle-worker.service", &worker);
}

/// A unit file of the examples.
fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    fs::read_to_string(path).expect("the example is there")
}

/// Shows it to systemd, with the program under test in its place.
fn verify(name: &str, unit: &str) {
    let has_systemd = Path::new("/usr/bin/systemd-analyze").exists();
    let is_ci = variable("CI").is_some_and(|value| value == "true");
    assert!(has_systemd || !is_ci, "CI=true and there is no systemd-analyze: install the package `systemd`");
    if !has_systemd {
        println!("skipped: there is no systemd-analyze (package `systemd`)");
        return;
    }
    let directory = TempDir::with_prefix("beadle-unit-").expect("a temporary directory can be made");
    let copy = directory.path().join(name);
    let own = unit.replace("/usr/local/bin/beadle", &program_path());
    fs::write(&copy, own).expect("the copy is written");
    let verified = program("/usr/bin/systemd-analyze").arg("verify").arg(&copy).output().expect("it starts");
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", shown(&verified));
}
