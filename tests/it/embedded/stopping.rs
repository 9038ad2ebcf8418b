//! The end of a call before its own: cancels, timeouts, stops of the daemon, crashes, and threads that do not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beadle::base::clock::pause;
use beadle::{DaemonBuilder, HandlerContext};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Embedded, lines};
use crate::support::wait::{PATIENCE, span, until};

fn cancel(daemon: &Embedded, id: &str) {
    let payload = daemon.offer("jobCancel", "JobCancelInput", "cursor", &json!({ "id": id }));
    assert_eq!(payload["userErrors"], json!([]));
}

/// A call with more than the name of its handler.
fn call_with(daemon: &Embedded, handler: &str, rest: &Value) -> String {
    let mut input = json!({"run": {"command": {"handler": handler}}});
    for (key, value) in rest.as_object().expect("an object") {
        input[key] = value.clone();
    }
    daemon.enqueue(&input)
}

/// Waits until the job has said that it runs.
fn started(daemon: &Embedded, id: &str) {
    until("the handler to begin", PATIENCE, || {
        (daemon.job(id)["progress"]["status"] == json!("begun")).then_some(())
    });
}

/// Three that wait: one listens to its cancel, one does not, one blocks its thread until `gate` opens.
fn waiting(builder: DaemonBuilder, gate: &Arc<AtomicBool>) -> DaemonBuilder {
    let gate = gate.clone();
    builder
        .handler("polite", async |ctx: HandlerContext, (): ()| {
            ctx.status("begun");
            ctx.cancelled().await;
            ctx.log("put things away").await;
            Err::<(), _>("told to end")
        })
        .handler("deaf", async |ctx: HandlerContext, (): ()| {
            ctx.status("begun");
            std::future::pending::<()>().await;
            Ok::<_, String>(())
        })
        .blocking_handler("stubborn", move |ctx: HandlerContext, (): ()| {
            ctx.status("begun");
            while !gate.load(Ordering::SeqCst) {
                pause(Duration::from_millis(1));
            }
            ctx.status("late");
            ctx.blocking_log("late");
            Ok::<_, String>(json!({"late": true}))
        })
        .handler("quick", async |_: HandlerContext, (): ()| Ok::<_, String>(()))
}

#[test]
fn a_cancelled_async_handler_ends_by_itself_or_is_dropped_after_the_grace() {
    let daemon = Embedded::start(|builder| waiting(builder, &Arc::default()));
    let polite = daemon.call("polite");
    started(&daemon, &polite);
    cancel(&daemon, &polite);
    let job = daemon.ended(&polite);
    assert_eq!(job["state"], json!("CANCELLED"), "{job:#}");
    assert_eq!(job["failure"]["outcome"], json!("CANCELLED"));
    assert_eq!(job["failure"]["message"], json!("cancelled (the handler failed: told to end)"));
    assert_eq!(lines(&job), ["STDOUT: put things away"]);

    let deaf = call_with(&daemon, "deaf", &json!({"killGrace": "50ms"}));
    started(&daemon, &deaf);
    cancel(&daemon, &deaf);
    let job = daemon.ended(&deaf);
    assert_eq!(job["failure"]["message"], json!("cancelled (the handler was dropped)"), "{job:#}");
    assert_eq!(daemon.busy_slots(), json!(0));
}

#[test]
fn a_thread_that_does_not_end_is_left_behind_unheard_and_keeps_its_slot() {
    let gate = Arc::new(AtomicBool::new(false));
    let daemon = Embedded::start(|builder| waiting(builder.slots(1), &gate));
    let stubborn = call_with(&daemon, "stubborn", &json!({"killGrace": "50ms"}));
    started(&daemon, &stubborn);
    cancel(&daemon, &stubborn);
    let job = daemon.ended(&stubborn);
    assert_eq!((&job["state"], &job["failure"]["outcome"]), (&json!("CANCELLED"), &json!("CANCELLED")));
    let message = job["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("goes on unheard"), "{message}");

    // The only slot is not free, whatever the state of its job.
    let next = daemon.call("quick");
    assert_eq!(daemon.busy_slots(), json!(1));
    // Several polls.
    span(Duration::from_millis(300));
    assert_eq!(daemon.job(&next)["state"], json!("QUEUED"));
    gate.store(true, Ordering::SeqCst);
    assert_eq!(daemon.ended(&next)["state"], json!("SUCCEEDED"));
    until("the slot to be free", PATIENCE, || (daemon.busy_slots() == json!(0)).then_some(()));
    let after = daemon.job(&stubborn);
    assert_eq!((&after["progress"]["status"], &after["output"]), (&json!("begun"), &Value::Null));
    assert_eq!(lines(&after), Vec::<String>::new());
}

#[test]
fn a_handler_is_stopped_at_its_timeout_unless_it_asks_for_more() {
    let daemon = Embedded::start(|builder| {
        waiting(builder, &Arc::default())
            .handler("longer", async |ctx: HandlerContext, (): ()| {
                ctx.extend_timeout(Duration::from_mins(1));
                let took = tokio::time::timeout(Duration::from_millis(400), ctx.cancelled()).await;
                took.map_or_else(|_| Ok(()), |()| Err("stopped"))
            })
            .handler("chatty", async |ctx: HandlerContext, (): ()| {
                for part in 1..=8 {
                    ctx.progress(part, 8);
                    let _ = tokio::time::timeout(Duration::from_millis(100), ctx.cancelled()).await;
                }
                if ctx.is_cancelled() { Err("stopped") } else { Ok(()) }
            })
    });
    let job = daemon.ended(&call_with(&daemon, "deaf", &json!({"timeout": "100ms", "killGrace": "0s"})));
    assert_eq!(job["failure"]["outcome"], json!("TIMED_OUT"), "{job:#}");
    let message = job["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("stopped after its timeout of"), "{message}");
    let job = daemon.ended(&call_with(&daemon, "deaf", &json!({"idleTimeout": "100ms", "killGrace": "0s"})));
    assert_eq!(job["failure"]["outcome"], json!("TIMED_OUT"), "{job:#}");
    let job = daemon.ended(&call_with(&daemon, "longer", &json!({"timeout": "200ms"})));
    assert_eq!(job["state"], json!("SUCCEEDED"), "{job:#}");
    let job = daemon.ended(&call_with(&daemon, "chatty", &json!({"idleTimeout": "600ms"})));
    assert_eq!(job["state"], json!("SUCCEEDED"), "a report is a sign of life: {job:#}");
}

#[test]
fn a_stop_lets_a_handler_finish_and_a_stop_at_once_interrupts_it() {
    let (gate, inside) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let set_up = |builder: DaemonBuilder| {
        let (gate, inside) = (gate.clone(), inside.clone());
        builder.handler("gated", move |ctx: HandlerContext, (): ()| {
            let (gate, inside) = (gate.clone(), inside.clone());
            async move {
                inside.notify_one();
                tokio::select! {
                    () = gate.notified() => Ok(json!({"attempt": ctx.attempt()})),
                    () = ctx.cancelled() => Err("interrupted"),
                }
            }
        })
    };
    let mut daemon = Embedded::start(set_up);
    let put = json!({"name": "gated", "command": {"handler": "gated"}});
    assert_eq!(daemon.offer("taskPut", "TaskPutInput", "task { name }", &put)["userErrors"], json!([]));
    let of_task = json!({"run": {"task": {"name": "gated"}}});
    let first = daemon.enqueue(&of_task);
    daemon.wait_for(async {
        inside.notified().await;
        let stopping = daemon.handle().stop();
        // Told of its end only after it was let go on: the stop has waited.
        let letting = async { gate.notify_one() };
        tokio::join!(stopping, letting);
    });
    daemon.stop();
    daemon.start_again(set_up);
    let job = daemon.ended(&first);
    assert_eq!((&job["state"], &job["output"]), (&json!("SUCCEEDED"), &json!({"attempt": 1})), "{job:#}");

    let second = daemon.enqueue(&of_task);
    daemon.wait_for(async {
        inside.notified().await;
        daemon.handle().stop_now().await;
    });
    daemon.stop();
    daemon.start_again(set_up);
    daemon.wait_for(inside.notified());
    gate.notify_one();
    let job = daemon.ended(&second);
    let outcomes: Vec<_> = job["attempts"]["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["outcome"].clone())
        .collect();
    assert_eq!(outcomes, [json!("INTERRUPTED"), json!("SUCCEEDED")], "{job:#}");
    daemon.stop();
}

#[test]
fn a_handler_that_a_crash_took_along_is_lost_at_the_next_start() {
    let mut daemon = Embedded::start(|builder| waiting(builder, &Arc::default()));
    let deaf = daemon.call("deaf");
    started(&daemon, &deaf);
    daemon.crash();
    daemon.start_again(|builder| waiting(builder, &Arc::default()));
    let job = daemon.ended(&deaf);
    assert_eq!(job["failure"]["outcome"], json!("LOST"), "{job:#}");
}
