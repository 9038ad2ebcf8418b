//! `plan`, `apply` and `import`: files in, requests out.

use super::*;

fn page(field: &str, nodes: Value) -> Reply {
    let page = json!({ "hasNextPage": false, "endCursor": null });
    Reply::data(&json!({ field: { "nodes": nodes, "pageInfo": page } }))
}

fn task_node(revision: i64, command: &str, is_secret: bool) -> Value {
    let environment =
        if is_secret { json!([{ "name": "KEY", "value": null, "isSecret": true }]) } else { json!([]) };
    json!({
        "name": "t", "revision": revision, "archivedAt": null, "description": null,
        "command": {
            "argv": [command], "script": null, "shell": null, "workingDirectory": null, "environment": environment,
            "inheritEnvironment": [],
        },
        "queue": { "name": "q" }, "priority": 0, "timeout": null, "idleTimeout": null, "killGrace": "PT10S",
        "retryPolicy": {
            "maxAttempts": 1, "initialDelay": "PT5S", "maxDelay": "PT10M", "factor": 2.0, "retryOn": null,
            "exitCodes": null, "signals": null, "retriesTemporaryFailure": false,
        },
        "isRestartable": true, "mergeOutput": false,
    })
}

fn put_task(revision: i64) -> Reply {
    done("taskPut", json!({ "task": { "id": "task_1", "name": "t", "revision": revision } }))
}

fn put_queue() -> Reply {
    let row = json!({ "name": "q", "isPaused": false, "pauseReason": null, "concurrencyLimit": 2 });
    done("queuePut", json!({ "queue": row }))
}

fn put_schedule() -> Reply {
    done("schedulePut", json!({ "schedule": { "name": "s", "isPaused": false, "nextDueAt": "T" } }))
}

const SITE: &str = "[queues.q]\nconcurrency_limit = 2\n[tasks.t]\ncommand = [\"new\"]\nqueue = \"q\"\n\
                    [schedules.s]\ntask = \"t\"\nevery = \"5m\"\n";

fn file(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

fn looks() -> Vec<Reply> {
    vec![
        page("queues", json!([{ "name": "q", "concurrencyLimit": 2 }])),
        page("tasks", json!([task_node(4, "old", false)])),
        page("schedules", json!([])),
    ]
}

#[test]
fn a_plan_shows_what_differs_and_changes_nothing() {
    let (_kept, path) = file(SITE);
    let daemon = FakeDaemon::start(looks());
    let ran = beadle(&daemon, &format!("plan {path}"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        ran.out,
        "= queue q\n~ task t: command [\"old\"] -> [\"new\"]\n+ schedule s\nto do: 1 new, 1 changed, 1 unchanged\n"
    );
    let sent: Vec<_> =
        daemon.seen().iter().map(|seen| seen.body["query"].as_str().unwrap()[..5].to_owned()).collect();
    assert_eq!(sent, ["query", "query", "query"]);

    let daemon = FakeDaemon::start(looks());
    let data: Value = serde_json::from_str(&beadle(&daemon, &format!("plan {path} --json")).out).unwrap();
    assert_eq!(
        data["changes"],
        json!([
            { "action": "keep", "noun": "queue", "name": "q", "fields": [] },
            { "action": "change", "noun": "task", "name": "t", "fields": [{ "key": "command", "from": ["old"], "to": ["new"] }] },
            { "action": "create", "noun": "schedule", "name": "s", "fields": [] },
        ])
    );
}

#[test]
fn what_nobody_names_is_not_even_read() {
    let (_kept, path) = file("[queues.q]\nconcurrency_limit = 2\n");
    let daemon = FakeDaemon::start(vec![page("queues", json!([{ "name": "q", "concurrencyLimit": 2 }]))]);
    assert_eq!(beadle(&daemon, &format!("apply {path}")).out, "= queue q\nnothing to do: 1 unchanged\n");
}

#[test]
fn apply_makes_queues_before_tasks_before_schedules_and_pins_the_revision() {
    let (_kept, path) = file(SITE);
    let absent = || vec![page("queues", json!([])), page("tasks", json!([])), page("schedules", json!([]))];
    let daemon =
        FakeDaemon::start(absent().into_iter().chain([put_queue(), put_task(1), put_schedule()]).collect());
    let ran = beadle(&daemon, &format!("apply {path}"));
    assert_eq!(ran.out, "+ queue q\n+ task t\n+ schedule s\ndone: 3 new\n", "{}", ran.err);
    let seen = daemon.seen();
    let input = |at: usize| seen[at].variables()["input"].clone();
    assert_eq!(input(3), json!({ "name": "q", "concurrencyLimit": 2, "rateLimit": null }));
    assert_eq!((&input(4)["name"], &input(4)["expectedRevision"]), (&json!("t"), &json!(0)));
    assert_eq!(input(5)["timing"], json!({ "every": "PT5M" }));

    let daemon = FakeDaemon::start(looks().into_iter().chain([put_task(5), put_schedule()]).collect());
    assert_eq!(beadle(&daemon, &format!("apply {path}")).code, 0);
    assert_eq!(daemon.seen()[3].variables()["input"]["expectedRevision"], json!(4));
}

#[test]
fn an_apply_that_stops_says_what_was_done() {
    let (_kept, path) = file(SITE);
    let stale = || {
        let error =
            json!({ "code": "STALE_REVISION", "message": "the task stands at revision 5", "path": null });
        Reply::data(&json!({ "taskPut": { "task": null, "cursor": null, "userErrors": [error] } }))
    };
    let daemon = FakeDaemon::start(looks().into_iter().chain([stale()]).collect());
    let ran = beadle(&daemon, &format!("apply {path}"));
    assert_eq!((ran.code, ran.out.as_str()), (exit::REFUSED, "= queue q\n"));
    assert_eq!(
        ran.err,
        "beadle: task t: STALE_REVISION: the task stands at revision 5\nbeadle: what stands above is done, 2 left; mend it \
         and apply again\n"
    );
    let daemon = FakeDaemon::start(looks().into_iter().chain([stale()]).collect());
    let ran = beadle(&daemon, &format!("apply --json {path}"));
    let data: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (ran.code, &data["isWhole"], data["changes"].as_array().map(Vec::len)),
        (1, &json!(false), Some(1))
    );
}

#[test]
fn secrets_come_from_who_applies_and_are_sent_although_they_cannot_be_compared() {
    let (_kept, path) = file("[tasks.t]\ncommand = [\"x\"]\nqueue = \"q\"\nenvironment_from = [\"KEY\"]\n");
    let look = || page("tasks", json!([task_node(4, "x", true)]));
    for (revision, line) in
        [(4, "= task t\nnothing to do: 1 unchanged\n"), (5, "~ task t\ndone: 1 changed\n")]
    {
        let daemon = FakeDaemon::start(vec![look(), put_task(revision)]);
        let ran = in_environment(
            &format!("apply {path}"),
            &[("BEADLE_URL", &daemon.url), ("BEADLE_TOKEN", "secret"), ("KEY", "hush")],
        );
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (line, ""));
        let environment = daemon.seen()[1].variables()["input"]["command"]["exec"]["environment"].clone();
        assert_eq!(environment, json!([{ "name": "KEY", "value": "hush", "isSecret": true }]));
    }
    let daemon = FakeDaemon::start(vec![]);
    let ran = beadle(&daemon, &format!("apply {path}"));
    assert_eq!(ran.code, exit::USAGE);
    assert!(ran.err.contains("site.toml:1: the variable KEY is not set here"), "{}", ran.err);
    let daemon = FakeDaemon::start(vec![look()]);
    let ran = beadle(&daemon, &format!("plan {path}"));
    assert!(ran.out.contains("= task t\n    values of secrets are not compared"), "{}", ran.out);
}

#[test]
fn prune_takes_away_what_no_file_names() {
    let (_kept, path) = file("[queues.q]\nconcurrency_limit = 2\n");
    let schedule = json!({
        "name": "s", "task": { "name": "t" }, "timing": { "every": "PT5M" }, "timeZone": "UTC", "jitter": "PT0S",
        "misfire": "RUN_ONCE", "misfireWindow": "P1D", "overlap": "SKIP", "isPaused": false,
    });
    let daemon = FakeDaemon::start(vec![
        page(
            "queues",
            json!([{ "name": "default", "concurrencyLimit": null }, { "name": "q", "concurrencyLimit": 2 }]),
        ),
        page("tasks", json!([task_node(4, "old", false)])),
        page("schedules", json!([schedule])),
        done("scheduleDelete", json!({ "deletedId": "schedule_1" })),
        done("taskArchive", json!({ "task": { "name": "t", "revision": 4 } })),
    ]);
    let ran = beadle(&daemon, &format!("apply --prune {path}"));
    assert_eq!(ran.out, "= queue q\n- schedule s\n- task t\ndone: 2 removed, 1 unchanged\n", "{}", ran.err);
    assert_eq!(daemon.seen()[4].variables()["input"], json!({ "ref": { "name": "t" } }));
}

#[test]
fn a_crontab_is_printed_or_applied_and_what_is_left_out_is_said() {
    let (_kept, path) = file("MAILTO=ops\n@hourly cd / && ./tick.sh\n@reboot x\n");
    let words = format!("import crontab {path} --time-zone Europe/Berlin");
    let ran = in_environment(&words, &[("HOME", "/home/ada")]);
    assert_eq!(ran.code, 0);
    for part in [
        "[tasks.tick]\n",
        "script = \"cd / && ./tick.sh\"\n",
        "working_directory = \"/home/ada\"\n",
        "time_zone = \"Europe/Berlin\"\n",
        "# - line 3: left out",
    ] {
        assert!(ran.out.contains(part), "{part}\n{}", ran.out);
    }
    assert!(
        ran.err.contains("site.toml:1: MAILTO=ops is left out")
            && ran.err.contains("site.toml:3: left out, because @reboot")
    );
    let data: Value = serde_json::from_str(&in_environment(&format!("{words} --json"), &[]).out).unwrap();
    assert_eq!((&data["jobs"], &data["remarks"][0]["line"]), (&json!(["tick"]), &json!(1)));
    assert!(data["toml"].as_str().unwrap().contains("[schedules.tick]"));
    // The zone of who asks, when nobody names one.
    let ran = in_environment(&format!("import crontab {path}"), &[("TZ", ":Asia/Tokyo")]);
    assert!(ran.out.contains("time_zone = \"Asia/Tokyo\""), "{}", ran.out);

    let daemon = FakeDaemon::start(vec![
        page("tasks", json!([])),
        page("schedules", json!([])),
        put_task(1),
        put_schedule(),
    ]);
    let ran = beadle(&daemon, &format!("{words} --apply"));
    assert_eq!(ran.out, "+ task tick\n+ schedule tick\ndone: 2 new\n", "{}", ran.err);
    let input = daemon.seen()[3].variables()["input"].clone();
    assert_eq!(
        (&input["overlap"], &input["misfire"], &input["timing"]),
        (&json!("ALLOW"), &json!("SKIP"), &json!({ "cron": "@hourly" }))
    );
}

#[test]
fn the_limits_of_a_queue_that_are_not_spoken_of_stay() {
    let rate = json!({ "starts": 10, "per": "PT1M" });
    let row = |limit: &Value, rate: &Value| json!({ "name": "q", "isPaused": false, "pauseReason": null, "concurrencyLimit": limit, "rateLimit": rate });
    let there = || Reply::data(&json!({ "queue": row(&json!(3), &rate) }));
    let put = || done("queuePut", json!({ "queue": row(&json!(2), &rate) }));
    let absent = || Reply::data(&json!({ "queue": null }));
    for (words, script, input) in [
        ("--limit 2", vec![there(), put()], json!({ "concurrencyLimit": 2, "rateLimit": rate })),
        ("--no-limit", vec![there(), put()], json!({ "concurrencyLimit": null, "rateLimit": rate })),
        (
            "--rate 5/90s",
            vec![there(), put()],
            json!({ "concurrencyLimit": 3, "rateLimit": { "starts": 5, "per": "90s" } }),
        ),
        ("--no-rate", vec![there(), put()], json!({ "concurrencyLimit": 3, "rateLimit": null })),
        ("--limit 2", vec![absent(), put()], json!({ "concurrencyLimit": 2, "rateLimit": null })),
        (
            "--limit 2 --rate 5/1s",
            vec![put()],
            json!({ "concurrencyLimit": 2, "rateLimit": { "starts": 5, "per": "1s" } }),
        ),
        ("--no-limit --no-rate", vec![put()], json!({ "concurrencyLimit": null, "rateLimit": null })),
    ] {
        let daemon = FakeDaemon::start(script);
        let ran = beadle(&daemon, &format!("queue set q {words}"));
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (0, "q OPEN, limit 2, rate 10/1m\n"),
            "{words}: {}",
            ran.err
        );
        let mut expected = input;
        expected["name"] = json!("q");
        assert_eq!(daemon.seen().last().unwrap().variables()["input"], expected, "{words}");
    }
}
