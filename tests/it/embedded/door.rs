//! Which handlers there are and who may be asked for, and daemons as values: how they are set up, and side by side.

use beadle::domain::limits::HANDLERS_MAX;
use beadle::{Daemon, DaemonBuilder, HandlerContext};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Embedded, on};
use crate::support::daemon::beadle;

fn with_echo(builder: DaemonBuilder) -> DaemonBuilder {
    builder
        .handler("echo", async |_: HandlerContext, input: Value| Ok::<_, String>(json!({ "input": input })))
        .blocking_handler("a.second", |_: HandlerContext, (): ()| Ok::<_, String>(()))
}

/// Code, path and message of the only refusal.
fn refusal(payload: &Value) -> (String, String, String) {
    let errors = payload["userErrors"].as_array().expect("a list");
    assert_eq!(errors.len(), 1, "{payload}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let path: Vec<_> = errors[0]["path"].as_array().into_iter().flatten().map(text).collect();
    (text(&errors[0]["code"]), path.join("."), text(&errors[0]["message"]))
}

#[test]
fn an_unknown_handler_is_refused_with_those_that_there_are() {
    let daemon = Embedded::start(with_echo);
    let known = daemon.graphql("{ daemon { handlers } }", &json!({}));
    assert_eq!(known["daemon"]["handlers"], json!(["a.second", "echo"]));
    let message = "this daemon has no handler named ecco; it has: a.second, echo";
    let put = json!({"name": "t", "command": {"handler": "ecco"}});
    let payload = daemon.offer("taskPut", "TaskPutInput", "task { id }", &put);
    assert_eq!(refusal(&payload), ("INVALID".into(), "command.handler".into(), message.into()));
    let run = |name: &str| json!({"run": {"command": {"handler": name}}});
    let payload = daemon.offer("jobEnqueue", "JobEnqueueInput", "job { id }", &run("ecco"));
    assert_eq!(refusal(&payload), ("INVALID".into(), "run.command.handler".into(), message.into()));
    for bad in ["", "a b", "x\0", &"x".repeat(201)] {
        let payload = daemon.offer("jobEnqueue", "JobEnqueueInput", "job { id }", &run(bad));
        let (code, path, message) = refusal(&payload);
        assert_eq!((code.as_str(), path.as_str()), ("INVALID", "run.command.handler"), "{message}");
        assert!(!message.contains("it has:"), "{message}");
    }
}

#[test]
fn a_job_whose_handler_is_gone_fails_to_start_and_says_so() {
    let mut daemon = Embedded::start(with_echo);
    let put = json!({"name": "echoing", "command": {"handler": "echo"}});
    assert_eq!(daemon.offer("taskPut", "TaskPutInput", "task { id }", &put)["userErrors"], json!([]));
    let held = daemon.enqueue(&json!({"run": {"task": {"name": "echoing"}}, "isHeld": true}));
    daemon.stop();
    daemon.start_again(|builder| builder);
    let payload = daemon.offer("jobRelease", "JobReleaseInput", "job { id }", &json!({ "id": held }));
    assert_eq!(payload["userErrors"], json!([]));
    let job = daemon.ended(&held);
    assert_eq!((&job["state"], &job["failure"]["outcome"]), (&json!("FAILED"), &json!("SPAWN_FAILED")));
    let message = job["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("this daemon has no handler named echo, nor any other"), "{message}");
    // A new job of the task would only fail as well.
    let again = json!({"run": {"task": {"name": "echoing"}}});
    let (code, path, _) = refusal(&daemon.offer("jobEnqueue", "JobEnqueueInput", "job { id }", &again));
    assert_eq!((code.as_str(), path.as_str()), ("INVALID", "run.task"));
    daemon.stop();
    daemon.start_again(with_echo);
    assert_eq!(daemon.ended(&daemon.enqueue(&again))["output"], json!({"input": null}));
}

#[test]
fn the_command_line_defines_and_runs_handlers() {
    let daemon = Embedded::start(with_echo);
    let cli = |words: &[&str]| {
        let output = beadle()
            .args(words)
            .env("BEADLE_URL", daemon.handle().url())
            .env("BEADLE_TOKEN", daemon.handle().admin_token())
            .env("HOME", daemon.handle().data_dir())
            .output()
            .expect("the client's program starts");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(cli(&["task", "put", "echoing", "--handler", "echo"]), "echoing revision 1\n");
    assert!(cli(&["task", "show", "echoing"]).contains("handler echo\n"));
    assert!(cli(&["task", "ls"]).contains("handler echo"));
    let id = cli(&["run", "--wait", "--handler", "echo"]);
    assert!(cli(&["jobs"]).contains("handler echo"), "{id}");
    cli(&["run", "--wait", "echoing"]);
    // It is found by the handler's name, like a command by its words.
    let query = r#"{ jobs(filter: {text: "ECHO"}) { totalCount } }"#;
    assert_eq!(daemon.graphql(query, &json!({}))["jobs"]["totalCount"], json!(2));
}

#[test]
fn two_daemons_of_one_process_know_nothing_of_each_other() {
    let named = |name: &'static str| {
        move |builder: DaemonBuilder| {
            let given = json!({ "name": name });
            builder.handler("who", move |_: HandlerContext, (): ()| {
                std::future::ready(Ok::<_, String>(given.clone()))
            })
        }
    };
    let (one, other) = (Embedded::start(named("one")), Embedded::start(named("other")));
    assert_ne!(one.address(), other.address());
    let script = json!({"run": {"command": {"exec": {"argv": ["/bin/true"]}}}});
    for (daemon, name) in [(&one, "one"), (&other, "other")] {
        assert_eq!(daemon.ended(&daemon.call("who"))["output"], json!({ "name": name }));
        assert_eq!(daemon.ended(&daemon.enqueue(&script))["state"], json!("SUCCEEDED"));
        let count = daemon.graphql("{ jobs { totalCount } }", &json!({}));
        assert_eq!(count["jobs"]["totalCount"], json!(2));
    }
    let mut one = one;
    one.stop();
    assert_eq!(other.ended(&other.call("who"))["state"], json!("SUCCEEDED"));
}

#[test]
fn a_daemon_that_cannot_start_says_why_and_leaves_nothing_behind() {
    let daemon = Embedded::start(with_echo);
    let directory = TempDir::new().expect("a temporary directory can be made");
    let refused =
        |builder: DaemonBuilder| daemon.wait_for(builder.start()).expect_err("it starts").to_string();
    let nothing = |builder: DaemonBuilder, name: &str| {
        builder.handler(name, async |_: HandlerContext, (): ()| Ok::<_, String>(()))
    };
    let here = || on(directory.path());
    assert!(refused(Daemon::builder()).contains("data_dir"));
    let taken = refused(Daemon::builder().data_dir(daemon.handle().data_dir()));
    assert!(taken.contains("another daemon") || taken.contains("in use"), "{taken}");
    assert!(refused(here().slots(0)).contains("`slots` cannot be \"0\""));
    assert!(refused(here().set("slotz", "1")).contains("did you mean slots?"));
    let port = daemon.handle().address();
    assert!(refused(here().listen(port)).contains("cannot be listened on"));
    assert!(refused(nothing(here(), "a b")).contains("cannot be named \"a b\""));
    assert!(refused(nothing(nothing(here(), "twice"), "twice")).contains("two handlers named twice"));
    let full = (0..HANDLERS_MAX).fold(here(), |builder, number| nothing(builder, &format!("h{number}")));
    assert!(refused(nothing(full, "over")).contains("at most 1000 handlers"));
    // Nothing holds the directory: what was begun there has ended.
    let good = daemon.wait_for(here().start()).expect("the directory is free");
    daemon.wait_for(good.stop());
}

#[test]
fn a_dropped_handle_stops_its_daemon_and_a_future_runs_one() {
    let daemon = Embedded::start(|builder| builder);
    let directory = TempDir::new().expect("a temporary directory can be made");
    let address = daemon.wait_for(async {
        let dropped = on(directory.path()).start().await.expect("it starts");
        dropped.address()
    });
    crate::support::wait::until("the daemon to end", crate::support::wait::PATIENCE, || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    crate::support::wait::until("the directory to be free", crate::support::wait::PATIENCE, || {
        daemon.wait_for(on(directory.path()).run_until(std::future::ready(()))).ok()
    });
}
