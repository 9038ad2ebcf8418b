//! Files as people write them, against what the daemon would say.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn site(text: &str, language: Language) -> Result<Site, String> {
    let mut site = Site::new();
    add(&mut site, "f", text, language).map(|()| site)
}

fn one(text: &str) -> (Noun, Definition) {
    let site = site(text, Language::Toml).unwrap_or_else(|slip| panic!("{slip}\n{text}"));
    let ((noun, _), definition) = site.into_iter().next().expect("one");
    (noun, definition)
}

fn sent(text: &str) -> Value {
    let (noun, definition) = one(text);
    input(&definition.values, noun.keys(), definition.command_kind(), &|name| format!("value of {name}"))
}

#[test]
fn what_is_left_out_is_the_apis_default() {
    assert_eq!(sent("[queues.q]"), json!({ "concurrencyLimit": null, "rateLimit": null }));
    assert_eq!(
        sent("[queues.q]\nrate_limit = { starts = 10, per = \"60s\" }"),
        json!({ "concurrencyLimit": null, "rateLimit": { "starts": 10, "per": "PT1M" } })
    );
    assert_eq!(
        sent("[tasks.t]\ncommand = [\"/bin/true\"]"),
        json!({
            "description": null, "command": { "exec": { "argv": ["/bin/true"], "environment": [], "inheritEnvironment": [] } },
            "queue": "default", "priority": 0, "concurrencyLimit": null, "timeout": null, "maxTimeout": null,
            "idleTimeout": null, "killGrace": "PT10S", "parametersSchema": null,
            "retryPolicy": {
                "maxAttempts": 1, "initialDelay": "PT5S", "maxDelay": "PT10M", "factor": 2.0, "retryOn": null,
                "exitCodes": null, "signals": null, "retriesTemporaryFailure": false,
            },
            "isRestartable": true, "mergeOutput": false, "runsOn": [],
        })
    );
    assert_eq!(sent("[tasks.t]\nhandler = \"mail\"")["command"], json!({ "handler": "mail" }));
    assert_eq!(
        sent("[schedules.s]\ntask = \"t\"\nevery = \"90s\""),
        json!({
            "task": { "name": "t" }, "timing": { "every": "PT1M30S" }, "timeZone": "UTC", "jitter": "PT0S",
            "misfire": "RUN_ONCE", "misfireWindow": "P1D", "overlap": "SKIP", "parameters": null,
        })
    );
}

#[test]
fn everything_can_be_said_in_both_languages() {
    let toml = r#"
[queues.deploy]
concurrency_limit = 2

[tasks.backup]
description = "d"
script = "x\ny\n"
shell = "/bin/bash"
working_directory = "/srv"
environment = { B = "2", A = 1 }
environment_from = ["KEY"]
inherit_environment = ["Z", "LANG", "Z"]
queue = "deploy"
priority = -5
timeout = "1h"
idle_timeout = "PT5M"
kill_grace = "3s"
retry = { max_attempts = 3, initial_delay = "1s", max_delay = "1m", factor = 3, retry_on = ["timed_out", "exited"], exit_codes = [75, 1], signals = ["SIGSEGV", "SIGBUS"], retries_temporary_failure = true }
concurrency_limit = 3
merge_output = true
runs_on = { os = "linux", gpu = "a100", cores = 8 }
max_timeout = "2h"
parameters_schema = { type = "object", required = ["day"], properties.day.type = "string" }
is_restartable = false

[schedules.nightly]
task = "backup"
cron = "0 3 * * *"
time_zone = "Europe/Berlin"
jitter = "5m"
misfire = "run_all"
misfire_window = "1w"
overlap = "Cancel-Running"
parameters = { day = "monday" }
paused = true
"#;
    let yaml = "queues: {deploy: {concurrency_limit: 2}}
tasks:
  backup:
    description: d
    script: |
      x
      y
    shell: /bin/bash
    working_directory: /srv
    environment: {B: 2, A: '1'}
    environment_from: [KEY]
    inherit_environment: [LANG, Z]
    queue: deploy
    priority: -5
    timeout: 60m
    idle_timeout: 300s
    kill_grace: PT3S
    retry: {max_attempts: 3, initial_delay: 1s, max_delay: 60s, factor: 3.0, retry_on: [EXITED, timed-out], exit_codes: [1, 75], signals: [SIGBUS, SIGSEGV], retries_temporary_failure: true}
    concurrency_limit: 3
    merge_output: true
    runs_on: {cores: '8', gpu: a100, os: linux}
    max_timeout: 120m
    parameters_schema: {type: object, required: [day], properties: {day: {type: string}}}
    is_restartable: false
schedules:
  nightly: {task: backup, cron: 0 3 * * *, time_zone: Europe/Berlin, jitter: 300s, misfire: RUN_ALL, misfire_window: 7d, overlap: CANCEL_RUNNING, parameters: {day: monday}, paused: true}
";
    let [one, other] =
        [site(toml, Language::Toml), site(yaml, Language::Yaml)].map(|site| site.expect("good"));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (id, definition) in &one {
        assert_eq!(definition.values, other[id].values, "{id:?}");
    }
    let backup = &one[&(Noun::Task, "backup".to_owned())];
    let sent =
        input(&backup.values, Noun::Task.keys(), backup.command_kind(), &|name| format!("value of {name}"));
    let script = &sent["command"]["script"];
    assert_eq!((&script["text"], &script["shell"]), (&json!("x\ny\n"), &json!("/bin/bash")));
    assert_eq!(
        script["environment"],
        json!([
            { "name": "A", "value": "1" }, { "name": "B", "value": "2" },
            { "name": "KEY", "value": "value of KEY", "isSecret": true },
        ])
    );
    assert_eq!(script["inheritEnvironment"], json!(["LANG", "Z"]));
    let label = |key: &str, value: &str| json!({ "key": key, "value": value });
    assert_eq!(sent["runsOn"], json!([label("cores", "8"), label("gpu", "a100"), label("os", "linux")]));
    assert_eq!(sent["retryPolicy"]["retryOn"], json!(["EXITED", "TIMED_OUT"]));
    assert_eq!(sent["retryPolicy"]["exitCodes"], json!([1, 75]));
    assert_eq!(sent["retryPolicy"]["signals"], json!(["SIGBUS", "SIGSEGV"]));
    assert_eq!(
        sent["parametersSchema"],
        json!({ "type": "object", "required": ["day"], "properties": { "day": { "type": "string" } } })
    );
}

#[test]
fn what_stands_without_quotes_is_the_text_that_it_looks_like() {
    let expected = json!([
        { "name": "DEBUG", "value": "True" }, { "name": "MODE", "value": "0o644" },
        { "name": "PHONE", "value": "+49" }, { "name": "PORT", "value": "80" }, { "name": "UMASK", "value": "022" },
    ]);
    let yaml = "tasks:\n  t:\n    script: x\n    environment: {UMASK: 022, PHONE: &p +49, MODE: 0o644, PORT: 80, \
                DEBUG: True}\n    runs_on: {zone: *p}\n";
    let yaml = site(yaml, Language::Yaml).unwrap();
    let values = &yaml.values().next().expect("one").values;
    let told = input(values, Noun::Task.keys(), "script", &|_| String::new());
    let by_name = |list: &Value| {
        let mut list = list.as_array().cloned().unwrap_or_default();
        list.sort_by_key(|variable| variable["name"].to_string());
        json!(list)
    };
    assert_eq!(by_name(&told["command"]["script"]["environment"]), expected);
    assert_eq!(told["runsOn"], json!([{ "key": "zone", "value": "+49" }]), "an alias too");
    let toml = "[tasks.t]\nscript = \"x\"\nenvironment = { UMASK = \"022\", PHONE = +49, MODE = 0o644, PORT = 80, DEBUG = \"True\" }";
    assert_eq!(by_name(&sent(toml)["command"]["script"]["environment"]), expected);
}

#[test]
fn slips_are_refused_with_their_place_and_the_nearest_key() {
    for (text, message) in [
        ("[tasks.t]\ncomand = [\"x\"]", "f:2: `comand` is no key of task t; did you mean command?"),
        ("[taks.t]", "f:1: `taks` is nothing that can be defined; did you mean tasks?"),
        ("x = 1", "f:1: `x` is nothing that can be defined"),
        ("tasks = 1", "f:1: `tasks` is a number: write a table for each task"),
        ("[tasks]\nt = 1", "f:2: task t is a number: write a table"),
        ("\n[tasks.t]", "f:2: task t does not say what it runs: give `command` or `script` or `handler`"),
        ("[tasks.t]\ncommand = [\"x\"]\nscript = \"x\"", "says what it runs more than once"),
        ("[tasks.t]\ncommand = [\"x\"]\nshell = \"x\"", "has a `shell` but no `script`"),
        ("[tasks.t]\ncommand = \"x\"", "f:2: task t.command is a text: write a list of texts"),
        ("[tasks.t]\ncommand = [[]]", "task t.command holds a list: write texts"),
        (
            "[tasks.t]\nscript = \"x\"\ntimeout = \"soon\"",
            "f:3: task t.timeout: \"soon\" is not a length of time",
        ),
        ("[tasks.t]\nscript = \"x\"\ntimeout = 5", "task t.timeout is a number: write a length of time"),
        ("[tasks.t]\nscript = \"x\"\npriority = \"x\"", "a whole number"),
        ("[tasks.t]\nscript = \"x\"\nis_restartable = 1", "true or false"),
        ("[tasks.t]\nscript = \"x\"\nenvironment = [1]", "a table of texts"),
        (
            "[tasks.t]\nscript = \"x\"\nruns_on = [\"os=linux\"]",
            "task t.runs_on is a list: write a table of texts",
        ),
        (
            "[tasks.t]\nscript = \"x\"\nenvironment = { A = [] }",
            "task t.environment.A is a list: write a text",
        ),
        (
            "[tasks.t]\nscript = \"x\"\nenvironment = { A = \"1\" }\nenvironment_from = [\"A\"]",
            "sets A in `environment` and takes it in `environment_from`",
        ),
        ("[tasks.t]\nscript = \"x\"\nretry = { tries = 3 }", "`tries` is no key of task t.retry"),
        (
            "[tasks.t]\nscript = \"x\"\nretry = { retry_on = [\"bad\"] }",
            "task t.retry.retry_on is \"bad\": write exited, ",
        ),
        ("[tasks.t]\nscript = \"x\"\nretry = { exit_codes = [\"1\"] }", "a list of whole numbers"),
        (
            "[tasks.t]\nhandler = \"x\"\nenvironment = { A = \"1\" }",
            "task t has a `handler`, which takes no `environment`",
        ),
        ("[schedules.s]\ntask = \"t\"", "does not say when it is due: give `every` or `cron`"),
        ("[schedules.s]\nevery = \"5s\"", "does not say its `task`"),
        ("[schedules.s]\ntask = \"t\"\nevery = \"5s\"\ncron = \"@daily\"", "more than once"),
        ("[schedules.s]\ntask = \"t\"\nevery = \"5s\"\noverlap = \"never\"", "is \"never\": write skip, "),
        (
            "[queues.q]\nconcurrency_limit = \"2\"",
            "queue q.concurrency_limit is a text: write a whole number",
        ),
        ("[queues.q]\nrate_limit = { starts = 1 }", "f:2: queue q.rate_limit does not say its `per`"),
        ("[queues.q\n", "f:1: "),
    ] {
        let found = site(text, Language::Toml).expect_err(text);
        assert!(found.contains(message), "{text:?}: {found}");
    }
    let found = site("[1]", Language::Yaml).expect_err("a list");
    assert!(found.contains("the file is a list"), "{found}");
}

#[test]
fn a_folder_is_read_by_name_and_nothing_is_defined_twice() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("b.toml", "[queues.b]");
    write("a.yml", "queues: {a: {}}");
    write("c.yaml", "queues: {c: }");
    write("README.md", "# no");
    let load = || load(&[folder.path().to_owned()]);
    let stop = load().expect_err("a queue that is nothing");
    assert!(stop.code == exit::USAGE && stop.message.contains("c.yaml:1: queue c is nothing"), "{stop:?}");
    write("c.yaml", "queues: {c: {}}");
    let names: Vec<_> = load().unwrap().into_keys().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    write("d.toml", "\n[queues.a]");
    let message = load().expect_err("twice").message;
    assert!(
        message.contains("d.toml:2: queue a is defined before, at ") && message.ends_with("a.yml:1"),
        "{message}"
    );
    for bad in ["/var/empty/none", "README.md"] {
        assert_eq!(super::load(&[folder.path().join(bad)]).map(|_| ()).expect_err(bad).code, exit::USAGE);
    }
    assert!(super::load(&[Path::new("/proc/self/fd").to_owned()]).is_err(), "a folder without any");
}

/// What the daemon answers of a task that was put as `text` says, in other words for the same.
fn answer() -> Value {
    json!({
        "name": "t", "revision": 4, "archivedAt": null, "description": null,
        "command": {
            "argv": ["/bin/sh", "-c", "a\nb\nc\n"], "script": "a\nb\nc\n", "shell": "/bin/sh", "workingDirectory": null,
            "environment": [
                { "name": "KEY", "value": null, "isSecret": true }, { "name": "A", "value": "1", "isSecret": false },
            ],
            "inheritEnvironment": ["Z", "B"],
        },
        "queue": { "name": "default" }, "priority": 0, "timeout": "PT1M30S", "idleTimeout": null, "killGrace": "PT10S",
        "retryPolicy": {
            "maxAttempts": 3, "initialDelay": "PT5S", "maxDelay": "PT10M", "factor": 2, "retryOn": null, "exitCodes": null,
            "signals": null, "retriesTemporaryFailure": false,
        },
        "isRestartable": true, "mergeOutput": false,
    })
}

const TASK: &str = "[tasks.t]\nscript = \"a\\nb\\nc\\n\"\nenvironment = { A = \"1\" }\nenvironment_from = [\"KEY\"]\n\
                    inherit_environment = [\"B\", \"Z\"]\ntimeout = \"90s\"\nretry = { max_attempts = 3 }\n";

fn compared(text: &str, answers: &[(Noun, Value)], prune: bool) -> Vec<String> {
    let present = answers
        .iter()
        .map(|(noun, answer)| {
            ((*noun, answer["name"].as_str().unwrap().to_owned()), Present::of_answer(*noun, answer))
        })
        .collect();
    let site = site(text, Language::Toml).expect("good");
    changes(site, &present, prune).iter().flat_map(Change::lines).collect()
}

#[test]
fn a_task_that_a_schedule_of_the_site_runs_is_not_pruned() {
    let text = "[schedules.s]\ntask = \"t\"\nevery = \"1h\"";
    let mut other = answer();
    other["name"] = json!("other");
    let lines = compared(text, &[(Noun::Task, answer()), (Noun::Task, other)], true);
    assert_eq!(lines, ["+ schedule s", "- task other"]);
}

#[test]
fn the_same_in_other_words_is_no_change() {
    assert_eq!(compared(TASK, &[(Noun::Task, answer())], false), ["= task t"]);
    let mut placed = answer();
    placed["runsOn"] = json!([{ "key": "gpu", "value": "a100" }, { "key": "os", "value": "linux" }]);
    let text = format!("{TASK}runs_on = {{ os = \"linux\", gpu = \"a100\" }}");
    assert_eq!(compared(&text, &[(Noun::Task, placed)], false), ["= task t"]);
    let mut program = answer();
    program["command"] = json!({
        "argv": ["x"], "script": null, "shell": null, "workingDirectory": null, "environment": [], "inheritEnvironment": [],
    });
    program["timeout"] = Value::Null;
    program["retryPolicy"]["maxAttempts"] = json!(1);
    assert_eq!(compared("[tasks.t]\ncommand = [\"x\"]", &[(Noun::Task, program)], false), ["= task t"]);
}

#[test]
fn an_edit_shows_as_what_was_and_what_will_be() {
    let edit = |old: &str, new: &str| {
        assert!(TASK.contains(old), "{old}");
        compared(&TASK.replace(old, new), &[(Noun::Task, answer())], false)
    };
    assert_eq!(edit("90s", "2m"), ["~ task t: timeout 1m30s -> 2m"]);
    assert_eq!(edit("timeout = \"90s\"\n", ""), ["~ task t: timeout 1m30s -> none"]);
    assert_eq!(edit("max_attempts = 3", "max_attempts = 5"), ["~ task t: retry.max_attempts 3 -> 5"]);
    assert_eq!(
        edit("A = \"1\"", "A = \"2\", C = \"x\""),
        ["~ task t: environment.A \"1\" -> \"2\"", "~ task t: environment.C none -> \"x\""]
    );
    assert_eq!(
        edit("timeout = \"90s\"", "timeout = \"90s\"\nruns_on = { gpu = \"a100\" }"),
        ["~ task t: runs_on.gpu none -> \"a100\""]
    );
    assert_eq!(edit("[\"KEY\"]", "[]"), ["~ task t: environment_from [\"KEY\"] -> []"]);
    assert_eq!(edit("a\\nb\\nc", "a\\nB\\nx\\nc"), ["~ task t: script", "    - b", "    + B", "    + x"]);
    assert_eq!(
        edit("script = \"a\\nb\\nc\\n\"", "command = [\"x\"]")[..2],
        ["~ task t: command none -> [\"x\"]", "~ task t: script"]
    );
}

#[test]
fn what_is_new_gone_or_archived_is_told() {
    let mut archived = answer();
    archived["archivedAt"] = json!("T");
    assert_eq!(compared(TASK, &[], false), ["+ task t"]);
    assert_eq!(compared(TASK, &[(Noun::Task, archived.clone())], false), ["+ task t"]);
    let schedule = json!({
        "name": "s", "task": { "name": "t" }, "timing": { "cron": "0 3 * * *" }, "timeZone": "UTC", "jitter": "PT0S",
        "misfire": "RUN_ONCE", "misfireWindow": "P1D", "overlap": "SKIP", "isPaused": true,
    });
    let queue = json!({ "name": "default", "concurrencyLimit": null });
    let all = [(Noun::Task, answer()), (Noun::Schedule, schedule), (Noun::Queue, queue)];
    // The pause is nothing that this file decides.
    let kept = "[schedules.s]\ntask = \"t\"\ncron = \"0 3 * * *\"";
    assert_eq!(compared(kept, &all, false), ["= schedule s"]);
    assert_eq!(compared(kept, &all, true), ["= schedule s"], "the schedule names the task");
    assert_eq!(
        compared(&format!("{}\npaused = false", kept.replace("3 *", "4 *")), &all, false),
        ["~ schedule s: cron \"0 3 * * *\" -> \"0 4 * * *\"", "~ schedule s: paused true -> false"]
    );
    assert_eq!(
        compared("[schedules.s]\ntask = \"t\"\nevery = \"5m\"", &all, false),
        ["~ schedule s: every none -> 5m", "~ schedule s: cron \"0 3 * * *\" -> none"]
    );
    // A task goes after the schedule that needs it.
    assert_eq!(compared("", &all, true), ["- schedule s", "- task t"]);
    assert_eq!(compared("", &[(Noun::Task, archived)], true), Vec::<String>::new());
    assert_eq!(
        compared("[queues.default]\nconcurrency_limit = 3", &all, false),
        ["~ queue default: concurrency_limit none -> 3"]
    );
    let rate = |per: &str| format!("[queues.q]\nrate_limit = {{ starts = 10, per = \"{per}\" }}");
    let queue =
        json!({ "name": "q", "concurrencyLimit": null, "rateLimit": { "starts": 10, "per": "PT1M" } });
    let all = [(Noun::Queue, queue)];
    assert_eq!(compared(&rate("60s"), &all, false), ["= queue q"]);
    assert_eq!(compared(&rate("1h"), &all, false), ["~ queue q: rate_limit.per 1m -> 1h"]);
    assert_eq!(
        compared("[queues.q]", &all, false),
        ["~ queue q: rate_limit { starts = 10, per = \"1m\" } -> none"]
    );
}
