//! Where a part of the tree of control groups is delegated to the daemon, each attempt has a leaf of its own: nothing
//! leaves it, it is ended whole, and the account is of all that was in it. On a machine where the test may not make a
//! group this is not shown, and the test says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beadle::base::random::{Random, SystemRandom};
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::program::pids_with;
use crate::support::wait::{PATIENCE, now, span, until};

const MARK: &str = "TEST_RUN";
/// A child without the cookie, twice forked, in a session of its own. It waits until the leaf surely has it.
const RUNAWAY: &str = "until grep -q attempt_ /proc/self/cgroup; do sleep 0.01; done
env -i TEST_RUN=$TEST_RUN PATH=$PATH setsid sh -c 'sleep 600 </dev/null >/dev/null 2>&1 & exit 0'
exit 0";

/// A group that says of itself that it was delegated.
struct Delegated(PathBuf);

impl Delegated {
    fn make() -> Option<Delegated> {
        let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .find(|place| Path::new(place).join("cgroup.controllers").exists())?;
        let path = Path::new(mount).join(format!("beadle-test-{}", SystemRandom.hex(8)));
        fs::create_dir(&path).ok()?;
        let made = Delegated(path);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&made.0, "user.delegate", b"1", flags).ok()?;
        Some(made)
    }

    /// A daemon that was started in the group.
    fn daemon(&self, flags: &[&str]) -> Daemon {
        let mut daemon = Daemon::start_with(flags);
        daemon.kill9();
        self.restart(&mut daemon);
        daemon
    }

    fn restart(&self, daemon: &mut Daemon) {
        let script = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", self.0.display());
        daemon.wrap(&["/bin/sh", "-c", &script, "sh"]);
        daemon.restart();
    }

    /// The leaves of attempts that there are now.
    fn leaves(&self) -> Vec<PathBuf> {
        let below = |path: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
        };
        let places = below(&self.0).into_iter().flat_map(|place| below(&place));
        places.filter(|leaf| leaf.file_name().is_some_and(|name| name != "daemon")).collect()
    }

    fn has(&self, controller: &str) -> bool {
        let text = fs::read_to_string(self.0.join("cgroup.controllers")).unwrap_or_default();
        text.split_ascii_whitespace().any(|word| word == controller)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let begun = now();
        while !remove(&self.0) && begun.elapsed() < Duration::from_secs(5) {
            span(Duration::from_millis(10));
        }
    }
}

fn remove(path: &Path) -> bool {
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    fs::remove_dir(path).is_ok()
}

fn enqueue(daemon: &Daemon, mark: &str, script: &str) -> String {
    let environment = json!([{"name": MARK, "value": mark}]);
    let exec = json!({"argv": ["/bin/sh", "-c", script], "environment": environment});
    daemon.enqueue_with(json!({"run": {"command": {"exec": exec}}}))
}

/// Whether a process with the mark runs that has lost the cookie, and is no shell any more.
fn runs_alone(mark: &str) -> bool {
    pids_with(MARK, mark).into_iter().any(|pid| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let has_cookie = read("environ").windows(14).any(|part| part == b"BEADLE_COOKIE=");
        !has_cookie && read("cmdline") == b"sleep\x00600\0"
    })
}

fn attempt(daemon: &Daemon, id: &str) -> Value {
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes {
      outcome userTime systemTime peakMemoryBytes failure { message } ran { cgroup }
    } } } }";
    daemon.graphql(query, json!({ "id": id }))["job"]["attempts"]["nodes"][0].clone()
}

#[test]
fn a_leaf_holds_what_has_no_mark_and_ends_it_with_its_own_attempt() {
    let Some(group) = Delegated::make() else {
        return println!("no control group can be made here: not shown on this machine");
    };
    let mut daemon = group.daemon(&[]);
    let mark = SystemRandom.hex(8);
    // Without a group the runaways below might be this one's, and would live as long.
    let long = enqueue(&daemon, &SystemRandom.hex(8), "sleep 600");
    until("the long job to have its leaf", PATIENCE, || (group.leaves().len() == 1).then_some(()));
    for _ in 0..50 {
        let id = enqueue(&daemon, &mark, RUNAWAY);
        daemon.wait_final(&id);
        assert_eq!(pids_with(MARK, &mark), Vec::<u32>::new());
    }
    println!("cgroup: 50 runaways without a mark beside a long job, 0 survivors at the end of each attempt");
    let leaf = attempt(&daemon, &long)["ran"]["cgroup"].as_str().map(PathBuf::from).expect("it has a leaf");
    assert_eq!(group.leaves(), std::slice::from_ref(&leaf));

    // It waits until the leaf surely has it: what is forked before may stand outside, and is known by its birth only.
    let script = "sleep 1; env -i TEST_RUN=$TEST_RUN PATH=$PATH setsid sh -c 'sleep 600 & exit'; sleep 600";
    enqueue(&daemon, &mark, script);
    until("the runaway and its job to run", PATIENCE, || runs_alone(&mark).then_some(()));
    daemon.kill9();
    assert!(leaf.exists(), "nobody is there to remove it");
    group.restart(&mut daemon);
    assert_eq!((pids_with(MARK, &mark), group.leaves()), (Vec::new(), Vec::new()));
    assert_eq!(daemon.wait_final(&long).job["failure"]["outcome"], json!("LOST"));
}

#[test]
fn the_account_of_a_leaf_counts_whom_nobody_waited_for() {
    let Some(group) = Delegated::make() else {
        return println!("no control group can be made here: not shown on this machine");
    };
    let daemon = group.daemon(&[]);
    let script = "setsid sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; echo over; sleep 600' & sleep 600";
    let id = enqueue(&daemon, &SystemRandom.hex(8), script);
    until("the busy child to be over", PATIENCE, || {
        let query = "query ($id: ID!) { job(id: $id) { log(first: 1) { lines { text } } } }";
        let answer = daemon.graphql(query, json!({ "id": id }));
        (answer["job"]["log"]["lines"][0]["text"] == json!("over")).then_some(())
    });
    let cancel = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
    daemon.graphql(cancel, json!({ "id": id }));
    daemon.wait_final(&id);
    let attempt = attempt(&daemon, &id);
    let seconds = |field: &str| -> f64 {
        let text = attempt[field].as_str().expect("a length").to_owned();
        text.trim_start_matches("PT").trim_end_matches('S').parse().expect("seconds")
    };
    let cpu = seconds("userTime") + seconds("systemTime");
    println!("cgroup: {cpu} s of a child that nobody waited for");
    assert!(cpu >= 0.05, "{attempt}");
    assert_eq!(group.leaves(), Vec::<PathBuf>::new());
}

#[test]
fn a_job_over_its_memory_limit_ends_as_out_of_memory() {
    let Some(group) = Delegated::make().filter(|group| group.has("memory") && group.has("pids")) else {
        return println!("no controller of memory can be had here: not shown on this machine");
    };
    let daemon = group.daemon(&["--job-memory-max", "32MiB", "--job-processes-max", "50"]);
    let mark = SystemRandom.hex(8);
    let id = enqueue(&daemon, &mark, "sleep 600 & head -c 200M /dev/zero | tail -c 100M | cat >/dev/null");
    let ended = daemon.wait_final(&id);
    assert_eq!(ended.job["failure"]["outcome"], json!("OUT_OF_MEMORY"), "{:#}", ended.job);
    let id = enqueue(&daemon, &mark, "i=0; while [ $i -lt 100 ]; do sleep 600 & i=$((i + 1)); done; exit 0");
    let ended = daemon.wait_final(&id);
    assert!(ended.lines.iter().any(|(_, text)| text.contains("fork")), "{:?}", ended.lines);
    assert_eq!(pids_with(MARK, &mark), Vec::<u32>::new());
}

#[test]
fn a_limit_that_cannot_be_kept_is_said_at_the_start() {
    let daemon = Daemon::start_with(&["--cgroup", "off", "--job-memory-max", "32MiB"]);
    let log = daemon.log();
    assert!(log.contains("jobs run without the limits that were set"), "{log}");
    assert!(log.contains("`cgroup` is off"), "{log}");
}
