//! Whatever processes a job grows, none is left when its attempt has ended, and it ends in time: children that ignore
//! SIGTERM, that leave their group and session, that clear their environment, that hold the output open.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use beadle::base::clock::Timestamp;
use beadle::base::random::{Random, SystemRandom};
use serde_json::{Value, json};

use super::faults::has;
use crate::support::daemon::{Daemon, FINAL_STATES, string};
use crate::support::length::sized;
use crate::support::postgres::{is_on_postgres, skips_on_postgres};
use crate::support::program::pids_with;
use crate::support::wait::{PATIENCE, now, span, until};

/// The variable that marks every process of a test, also those that lose the daemon's own.
const MARK: &str = "TEST_RUN";
/// Jobs that run at once.
const SLOTS: &str = "32";
/// No orphan is left so long after the grace time.
const CLEARED_WITHIN: Duration = Duration::from_secs(5);
/// Jobs that one mutation takes.
const BATCH: usize = 100;

/// Jobs of each kind.
fn jobs() -> usize {
    sized(300, 1_000)
}

/// A daemon and the mark of the processes that its jobs start.
struct Wood {
    daemon: Daemon,
    mark: String,
}

/// What became of a job's only attempt.
#[derive(Debug)]
struct Attempt {
    outcome: String,
    ran: Duration,
    log: String,
}

impl Wood {
    fn new() -> Wood {
        Wood { daemon: Daemon::start_with(&["--slots", SLOTS]), mark: SystemRandom.hex(8) }
    }

    fn input(&self, script: &str, more: &Value) -> Value {
        let environment = json!([{"name": MARK, "value": self.mark}]);
        let exec = json!({"argv": ["/bin/sh", "-c", script], "environment": environment});
        let mut input = json!({"run": {"command": {"exec": exec}}, "killGrace": "200ms"});
        for (name, value) in more.as_object().into_iter().flatten() {
            input[name] = value.clone();
        }
        input
    }

    fn enqueue(&self, script: &str, more: &Value) -> String {
        self.daemon.enqueue_with(self.input(script, more))
    }

    /// Runs a script as often as the test wants; gives the attempts when all of them have ended.
    fn run_many(&self, script: &str, more: &Value) -> Vec<Attempt> {
        let query = "mutation ($input: JobEnqueueManyInput!) {
          jobEnqueueMany(input: $input) { results { job { id } userErrors { message } } }
        }";
        let mut ids = Vec::new();
        while ids.len() < jobs() {
            let inputs = vec![self.input(script, more); BATCH.min(jobs() - ids.len())];
            let answer = self.daemon.graphql(query, json!({"input": {"jobs": inputs}}));
            let results = answer["jobEnqueueMany"]["results"].as_array().expect("a list of results").clone();
            ids.extend(results.iter().map(|result| string(&result["job"]["id"])));
        }
        let open = "{ jobs(first: 1, filter: {states: [SCHEDULED, QUEUED, RUNNING]}) { totalCount } }";
        until("all jobs to end", PATIENCE * 2, || {
            let answer = self.daemon.graphql(open, json!({}));
            (answer["jobs"]["totalCount"] == json!(0)).then_some(())
        });
        ids.iter().map(|id| self.attempt(id)).collect()
    }

    fn attempt(&self, id: &str) -> Attempt {
        let query = "query ($id: ID!) { job(id: $id) {
          state attempts { nodes { outcome startedAt finishedAt } } log(first: 100) { lines { text } }
        } }";
        let job = self.daemon.graphql(query, json!({ "id": id }))["job"].clone();
        assert!(FINAL_STATES.contains(&string(&job["state"]).as_str()), "{job}");
        let attempts = job["attempts"]["nodes"].as_array().expect("a list of attempts");
        assert_eq!(attempts.len(), 1, "{job}");
        let at = |field: &str| Timestamp::parse(&string(&attempts[0][field])).expect("an instant");
        let lines = job["log"]["lines"].as_array().expect("a list of lines");
        Attempt {
            outcome: string(&attempts[0]["outcome"]),
            ran: at("finishedAt").since(at("startedAt")),
            log: lines.iter().map(|line| string(&line["text"]) + "\n").collect(),
        }
    }

    fn alive(&self) -> Vec<u32> {
        pids_with(MARK, &self.mark)
    }

    /// Children of the daemon that ended and were not reaped.
    fn zombies(&self) -> usize {
        children(self.daemon.pid()).into_iter().filter(|(_, state)| *state == 'Z').count()
    }

    /// What holds after the last of the jobs, with the figures.
    fn check(&self, what: &str, attempts: &[Attempt], outcome: &str, limit: Duration) {
        let survivors = self.alive().len();
        let mut ran: Vec<_> = attempts.iter().map(|attempt| attempt.ran).collect();
        ran.sort();
        let (median, worst) = (ran[ran.len() / 2], ran[ran.len() - 1]);
        let in_time = ran.iter().filter(|ran| **ran <= limit).count();
        let begun = now();
        let zombies = until("no zombies", CLEARED_WITHIN, || (self.zombies() == 0).then_some(0));
        println!(
            "{what}: {} attempts, {survivors} survivors, {zombies} zombies ({} ms later), {in_time} in time; ran {} ms in the median, {} ms at most (limit {} ms)",
            attempts.len(),
            begun.elapsed().as_millis(),
            median.as_millis(),
            worst.as_millis(),
            limit.as_millis()
        );
        let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
        for attempt in attempts {
            *outcomes.entry(&attempt.outcome).or_default() += 1;
            assert!(!attempt.log.contains("held open"), "{attempt:?}");
        }
        assert_eq!(outcomes, BTreeMap::from([(outcome, attempts.len())]));
        assert_eq!((survivors, in_time), (0, attempts.len()));
    }
}

/// The children of a process, with their states.
fn children(parent: u32) -> Vec<(u32, char)> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        (fields.next()?.parse() == Ok(parent)).then_some((pid, state))
    })
    .collect()
}

#[test]
fn children_that_ignore_sigterm_are_killed_when_the_grace_is_over() {
    let wood = Wood::new();
    let script = "trap '' TERM; sleep 600 & while :; do sleep 0.1; done";
    let attempts = wood.run_many(script, &json!({"timeout": "300ms"}));
    wood.check("deaf to SIGTERM", &attempts, "TIMED_OUT", Duration::from_millis(500) + CLEARED_WITHIN);
}

#[test]
fn children_that_left_by_a_double_fork_and_a_session_of_their_own_end_with_the_attempt() {
    let wood = Wood::new();
    let script = "setsid sh -c 'sleep 600 </dev/null >/dev/null 2>&1 & exit 0'; exit 0";
    let attempts = wood.run_many(script, &json!({}));
    wood.check("double fork, setsid", &attempts, "SUCCEEDED", CLEARED_WITHIN);
}

#[test]
fn grandchildren_that_hold_the_output_end_with_the_attempt_inside_and_outside_of_its_group() {
    let wood = Wood::new();
    let attempts = wood.run_many("sleep 600 & setsid sleep 600 & echo begun; exit 3", &json!({}));
    // The forks may be killed before they are anything.
    wood.check("grandchild on the pipe", &attempts, "EXITED", CLEARED_WITHIN);
    assert!(attempts.iter().all(|attempt| attempt.log == "begun\n"), "{attempts:?}");
}

#[test]
fn children_that_also_cleared_their_environment_are_gone_soon_after_the_last_who_may_own_them() {
    let wood = Wood::new();
    // The mark is given anew: the cookie is gone.
    let script = r#"env -i TEST_RUN="$TEST_RUN" PATH="$PATH" setsid sh -c 'sleep 600 </dev/null >/dev/null 2>&1 & exit 0'; exit 0"#;
    let attempts = wood.run_many(script, &json!({}));
    let begun = now();
    until("the last of them to be gone", CLEARED_WITHIN, || wood.alive().is_empty().then_some(()));
    println!("without a cookie: gone {} ms after the last end", begun.elapsed().as_millis());
    wood.check("double fork, setsid, env -i", &attempts, "SUCCEEDED", CLEARED_WITHIN);
}

#[test]
fn what_left_the_group_is_asked_to_end_before_it_is_killed() {
    let wood = Wood::new();
    let note = wood.daemon.directory().join("note");
    let script = format!(
        "setsid sh -c 'trap \"echo cleaned >{}; exit\" TERM; echo ready; while :; do sleep 0.02; done' & wait",
        note.display()
    );
    let id = wood.enqueue(&script, &json!({"killGrace": "30s"}));
    until("the child to be ready", PATIENCE, || {
        let query = "query ($id: ID!) { job(id: $id) { log(first: 1) { lines { text } } } }";
        let answer = wood.daemon.graphql(query, json!({ "id": id }));
        (answer["job"]["log"]["lines"][0]["text"] == json!("ready")).then_some(())
    });
    cancel(&wood.daemon, &id);
    let ended = wood.daemon.wait_final(&id);
    assert_eq!(ended.job["state"], json!("CANCELLED"));
    assert_eq!(fs::read_to_string(&note).unwrap_or_default(), "cleaned\n");
    assert_eq!(wood.alive(), Vec::<u32>::new());
}

fn cancel(daemon: &Daemon, id: &str) {
    let query = "mutation ($id: ID!) { jobCancel(input: {id: $id}) { userErrors { message } } }";
    let answer = daemon.graphql(query, json!({ "id": id }));
    assert_eq!(answer["jobCancel"]["userErrors"], json!([]));
}

#[test]
fn a_running_attempt_keeps_what_it_detached_until_it_ends_itself() {
    let wood = Wood::new();
    let gate = wood.daemon.directory().join("gate");
    // With the cookie and without: both are orphans from the beginning.
    let script = format!(
        "setsid sh -c 'sleep 600 & exit'; env -i TEST_RUN=$TEST_RUN setsid sh -c 'sleep 601 & exit'; echo $$; \
         until [ -e {} ]; do sleep 0.05; done",
        gate.display()
    );
    let long = wood.enqueue(&script, &json!({}));
    let sleepers = || wood.alive().into_iter().filter(|pid| is_sleeper(*pid)).count();
    until("both children to be detached", PATIENCE, || (sleepers() == 2).then_some(()));
    for _ in 0..20 {
        let id = wood.enqueue("setsid sh -c 'sleep 602 & exit'", &json!({}));
        wood.daemon.wait_final(&id);
    }
    // The daemon has looked a few times.
    span(Duration::from_secs(2));
    assert_eq!(sleepers(), 2, "what belongs to a running attempt was ended");
    fs::write(&gate, "").expect("a file can be made");
    assert_eq!(wood.daemon.wait_final(&long).job["state"], json!("SUCCEEDED"));
    assert_eq!(wood.alive(), Vec::<u32>::new());
}

/// One of the sleepers that are to stay.
fn is_sleeper(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line == b"sleep\x00600\0" || line == b"sleep\x00601\0")
}

#[test]
fn orphans_of_a_running_attempt_are_reaped_when_they_end() {
    let wood = Wood::new();
    let gate = wood.daemon.directory().join("gate");
    let script = format!(
        "i=0; while [ $i -lt 50 ]; do setsid sh -c 'sleep 0.01 & exit'; i=$((i + 1)); done; echo made; \
         until [ -e {} ]; do sleep 0.05; done",
        gate.display()
    );
    let id = wood.enqueue(&script, &json!({}));
    until("the orphans to be made", PATIENCE, || {
        let query = "query ($id: ID!) { job(id: $id) { log(first: 1) { lines { text } } } }";
        let answer = wood.daemon.graphql(query, json!({ "id": id }));
        (answer["job"]["log"]["lines"][0]["text"] == json!("made")).then_some(())
    });
    // Over PostgreSQL the daemon has a guard.
    let guards = usize::from(is_on_postgres());
    until("the orphans to be reaped", CLEARED_WITHIN, || {
        (children(wood.daemon.pid()).len() <= 1 + guards).then_some(())
    });
    fs::write(&gate, "").expect("a file can be made");
    wood.daemon.wait_final(&id);
}

#[test]
fn a_child_that_was_there_before_the_daemon_is_left_alone() {
    let mut wood = Wood::new();
    wood.daemon.kill9();
    let mark = SystemRandom.hex(8);
    // The shell becomes the daemon, and its children the daemon's. Descriptor 9 is open in both.
    wood.daemon.wrap(&["/bin/sh", "-c", "sleep 600 & exec 9</dev/null; exec \"$@\"", "sh"]);
    wood.daemon.change_environment(&[("TEST_BEFORE", &mark)]);
    wood.daemon.restart();
    // The daemon sees to the score when the process is there.
    let script = "ls -l /proc/self/fd
        tries=0
        until [ $(cat /proc/self/oom_score_adj) -ge 500 ] || [ $tries -ge 100 ]; do tries=$((tries + 1)); sleep 0.05; done
        cat /proc/self/oom_score_adj";
    let id = wood.enqueue(script, &json!({}));
    let ended = wood.daemon.wait_final(&id);
    let lines: Vec<&str> = ended.lines.iter().map(|(_, text)| text.as_str()).collect();
    assert!(!lines.iter().any(|line| line.contains(" 9 -> ")), "a job was given an open file: {lines:?}");
    assert!(
        lines.last().is_some_and(|score| score.parse::<i32>().is_ok_and(|score| score >= 500)),
        "{lines:?}"
    );
    span(Duration::from_secs(2));
    let before: Vec<u32> =
        pids_with("TEST_BEFORE", &mark).into_iter().filter(|pid| *pid != wood.daemon.pid()).collect();
    assert_eq!(before.len(), 1, "the child that was there before is gone, or multiplied: {before:?}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(before[0]).expect("a pid fits"));
    rustix::process::kill_process(pid.expect("a pid is not 0"), rustix::process::Signal::KILL).expect("ours");
}

#[test]
fn in_a_container_whose_session_began_outside_the_trees_are_cleared_too() {
    if skips_on_postgres("the container's users may not come to the server's socket") {
        return;
    }
    // The group and the session that the daemon was started in have no number there: the system says 0.
    let container = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !has(&[container.as_slice(), &["true"]].concat()) {
        return;
    }
    let mut wood = Wood::new();
    wood.daemon.kill9();
    wood.daemon.wrap(&container);
    wood.daemon.restart();
    let script =
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 600 & exit'; setsid sleep 600 & sleep 600 & wait";
    let ids: Vec<_> = (0..10).map(|_| wood.enqueue(script, &json!({"timeout": "1s"}))).collect();
    for id in ids {
        wood.daemon.wait_final(&id);
        let attempt = wood.attempt(&id);
        assert_eq!(attempt.outcome, "TIMED_OUT");
        assert!(attempt.ran <= Duration::from_millis(1_200) + CLEARED_WITHIN, "{attempt:?}");
    }
    assert_eq!(wood.alive(), Vec::<u32>::new());
}

#[test]
fn trees_of_a_killed_daemon_are_gone_when_its_successor_listens() {
    let mut wood = Wood::new();
    let script =
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 600 & exit'; setsid sleep 600 & sleep 600 & wait";
    let ids: Vec<_> = (0..20).map(|_| wood.enqueue(script, &json!({}))).collect();
    until("all trees to be grown", PATIENCE, || (wood.alive().len() >= 20 * 4).then_some(()));
    wood.daemon.kill9();
    wood.daemon.restart();
    let survivors = wood.alive().len();
    println!("kill -9: 20 trees of 4 processes, {survivors} survivors at the next start");
    assert_eq!(survivors, 0);
    for id in ids {
        assert_eq!(wood.daemon.wait_final(&id).job["failure"]["outcome"], json!("LOST"));
    }
}

#[test]
fn a_job_that_forks_without_end_is_ended_whole() {
    let wood = Wood::new();
    // It limits itself, for the sake of this machine: five hundred, half of them in sessions of their own.
    let script = "i=0; while [ $i -lt 250 ]; do sleep 600 & setsid sleep 600 & i=$((i + 1)); done; wait";
    let id = wood.enqueue(script, &json!({"timeout": "4s"}));
    let most = until("hundreds of processes", PATIENCE, || {
        let alive = wood.alive().len();
        (alive >= 200).then_some(alive)
    });
    let quick = wood.enqueue("exit 0", &json!({}));
    wood.daemon.wait_final(&quick);
    wood.daemon.wait_final(&id);
    let (bomb, quick) = (wood.attempt(&id), wood.attempt(&quick));
    println!("a bomb of 500, {most} seen: {bomb:?}; another job meanwhile: {quick:?}");
    assert_eq!(bomb.outcome, "TIMED_OUT");
    assert!(bomb.ran <= Duration::from_millis(4_200) + CLEARED_WITHIN, "{bomb:?}");
    assert_eq!(wood.alive(), Vec::<u32>::new());
}

#[test]
fn a_process_that_cannot_be_killed_keeps_its_attempt_running_and_shows_in_health() {
    // The old freezer holds even against SIGKILL, as a disk that does not answer would.
    let Some(freezer) = Freezer::make() else {
        println!("no freezer of the first version of cgroups here: not shown on this machine");
        return;
    };
    let wood = Wood::new();
    let id = wood.enqueue("exec sleep 600", &json!({"timeout": "1s"}));
    let pid = until("the job to run", PATIENCE, || wood.alive().first().copied());
    freezer.freeze(pid);
    let row = || {
        let answer = wood.daemon.graphql("{ health { subsystems { name status message } } }", json!({}));
        let rows = answer["health"]["subsystems"].as_array().expect("a list of rows").clone();
        rows.into_iter().find(|row| row["name"] == json!("processes")).expect("a row of the processes")
    };
    let shown = until("the alarm", PATIENCE, || Some(row()).filter(|row| row["status"] != json!("OK")));
    let message = string(&shown["message"]);
    assert!(message.contains("cannot be killed") && message.contains(&pid.to_string()), "{message}");
    let job = wood.daemon.graphql("query ($id: ID!) { job(id: $id) { state } }", json!({ "id": id }));
    assert_eq!(job["job"]["state"], json!("RUNNING"), "a process of it is alive");
    drop(freezer);
    assert_eq!(wood.daemon.wait_final(&id).job["failure"]["outcome"], json!("TIMED_OUT"));
    until("the row to be well again", PATIENCE, || (row()["status"] == json!("OK")).then_some(()));
}

/// A group of the old freezer.
struct Freezer(PathBuf);

impl Freezer {
    fn make() -> Option<Freezer> {
        let path = Path::new("/sys/fs/cgroup/freezer").join(format!("beadle-test-{}", SystemRandom.hex(8)));
        fs::create_dir(&path).ok()?;
        Some(Freezer(path)).filter(|freezer| freezer.0.join("freezer.state").exists())
    }

    fn freeze(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process can be moved");
        fs::write(self.0.join("freezer.state"), "FROZEN").expect("it can be frozen");
        until("it to be frozen", PATIENCE, || {
            let state = fs::read_to_string(self.0.join("freezer.state")).unwrap_or_default();
            (state.trim() == "FROZEN").then_some(())
        });
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let begun = now();
        // Not before the last process in it has ended.
        while fs::remove_dir(&self.0).is_err() && begun.elapsed() < CLEARED_WITHIN {
            span(Duration::from_millis(10));
        }
    }
}
