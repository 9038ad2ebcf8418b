//! What a call of a handler comes to: success, error, panic, parameters that do not fit, and what it says meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use beadle::HandlerContext;
use beadle::base::clock::pause;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Embedded, lines};

#[derive(Debug, Deserialize)]
struct Parcel {
    #[expect(dead_code, reason = "only its reading is tried")]
    weight: u32,
}

#[test]
fn a_handler_succeeds_with_its_output_and_its_log() {
    let daemon = Embedded::start(|builder| {
        builder
            .handler("greet", async |ctx: HandlerContext, input: Value| {
                ctx.output(json!({"first": 1, "kept": true}));
                ctx.log(format!("{} {} {:?} {input}", ctx.job_id(), ctx.attempt(), ctx.task_name())).await;
                ctx.log_error("one\ntwo\n").await;
                Ok::<_, String>(json!({"first": 2, "name": "beadle"}))
            })
            .blocking_handler("work", |ctx: HandlerContext, (): ()| {
                ctx.blocking_log("on a thread");
                ctx.blocking_log_error("");
                Ok::<_, String>(())
            })
    });
    let id = daemon.call("greet");
    let job = daemon.ended(&id);
    assert_eq!(job["state"], json!("SUCCEEDED"), "{job:#}");
    assert_eq!(job["output"], json!({"first": 2, "kept": true, "name": "beadle"}));
    assert_eq!(job["command"], json!({"argv": [], "handler": "greet"}));
    assert_eq!(
        lines(&job),
        [format!("STDOUT: {id} 1 None null"), "STDERR: one".into(), "STDERR: two".into()]
    );
    let attempt = &job["attempts"]["nodes"][0];
    assert_eq!((&attempt["outcome"], &attempt["exitCode"]), (&json!("SUCCEEDED"), &json!(0)));
    assert_eq!(attempt["pid"], Value::Null);

    let job = daemon.ended(&daemon.call("work"));
    assert_eq!((&job["state"], &job["output"]), (&json!("SUCCEEDED"), &Value::Null), "{job:#}");
    assert_eq!(lines(&job), ["STDOUT: on a thread", "STDERR: "]);
}

#[test]
fn an_error_is_an_exit_with_code_1_that_the_retry_policy_covers() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let daemon = Embedded::start(move |builder| {
        builder.blocking_handler("twice", move |ctx: HandlerContext, (): ()| {
            counted.fetch_add(1, Ordering::SeqCst);
            if ctx.attempt() == 1 {
                Err(io::Error::other("the disk\nis full"))
            } else {
                Ok(json!({"try": 2}))
            }
        })
    });
    let job = daemon.ended(&daemon.call("twice"));
    assert_eq!(job["state"], json!("FAILED"));
    assert_eq!(
        job["failure"],
        json!({"outcome": "EXITED", "message": "the handler failed: the disk is full", "exitCode": 1,
               "errorLine": "the disk is full", "isRetryable": true})
    );
    let again = json!({"run": {"command": {"handler": "twice"}},
                       "retryPolicy": {"maxAttempts": 3, "initialDelay": "0s", "exitCodes": [1]}});
    let job = daemon.ended(&daemon.enqueue(&again));
    assert_eq!((&job["state"], &job["output"]), (&json!("SUCCEEDED"), &json!({"try": 2})), "{job:#}");
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_panic_ends_its_attempt_and_nothing_else() {
    let daemon = Embedded::start(|builder| {
        builder
            .handler("early", |_: HandlerContext, (): ()| {
                assert!(std::thread::panicking(), "before its first wait");
                std::future::ready(Ok::<(), String>(()))
            })
            .handler("late", async |ctx: HandlerContext, (): ()| -> Result<(), String> {
                ctx.mask("hunter22");
                ctx.log("so far").await;
                panic!("after {} with hunter22", "a wait")
            })
            .blocking_handler("thread", |_: HandlerContext, (): ()| -> Result<(), String> {
                panic!("on its thread")
            })
            .handler("well", async |_: HandlerContext, (): ()| Ok::<_, String>(()))
    });
    let cases =
        [("early", "before its first wait"), ("late", "after a wait with ***"), ("thread", "on its thread")];
    for (name, words) in cases {
        let job = daemon.ended(&daemon.call(name));
        assert_eq!(job["failure"]["outcome"], json!("PANICKED"), "{job:#}");
        assert_eq!(job["failure"]["message"], json!(format!("the handler panicked: {words}")));
        assert_eq!(job["attempts"]["nodes"][0]["exitCode"], Value::Null);
    }
    assert_eq!(daemon.ended(&daemon.call("well"))["state"], json!("SUCCEEDED"));
    assert_eq!(daemon.busy_slots(), json!(0));
}

#[test]
fn parameters_that_do_not_fit_fail_for_good_and_say_why() {
    let daemon = Embedded::start(|builder| {
        builder
            .handler("send", async |_: HandlerContext, _: Parcel| Ok::<_, String>(()))
            .blocking_handler("carry", |_: HandlerContext, _: Parcel| Ok::<_, String>(()))
            .handler("tick", async |_: HandlerContext, (): ()| Ok::<_, String>(()))
    });
    // What takes nothing takes an object without fields.
    for (given, state) in [(json!({}), "SUCCEEDED"), (json!({"a": 1}), "FAILED")] {
        let input = json!({"run": {"command": {"handler": "tick"}}, "parameters": given});
        assert_eq!(daemon.ended(&daemon.enqueue(&input))["state"], json!(state), "{given}");
    }
    for name in ["send", "carry"] {
        let input = json!({"run": {"command": {"handler": name}}, "retryPolicy": {"maxAttempts": 5, "initialDelay": "0s"}});
        let job = daemon.ended(&daemon.enqueue(&input));
        assert_eq!(job["state"], json!("FAILED"));
        assert_eq!(
            job["failure"]["message"],
            json!("the handler failed: the parameters do not fit the handler: missing field `weight`")
        );
        assert_eq!(job["attempts"]["nodes"].as_array().map(Vec::len), Some(1), "{job:#}");
    }
}

#[test]
fn what_it_wants_hidden_shows_nowhere_and_what_makes_no_sense_is_remarked() {
    let daemon = Embedded::start(|builder| {
        builder.handler("secret", async |ctx: HandlerContext, (): ()| {
            ctx.mask("hunter22");
            ctx.log("the password is hunter22").await;
            ctx.status("with hunter22");
            ctx.output(json!(["no", "object"]));
            ctx.output(json!({"long": "x".repeat(200_000)}));
            Err::<(), _>("hunter22 was refused\0")
        })
    });
    let job = daemon.ended(&daemon.call("secret"));
    assert_eq!(job["failure"]["message"], json!("the handler failed: *** was refused "));
    assert_eq!(job["failure"]["errorLine"], json!("*** was refused"));
    assert_eq!(job["progress"]["status"], json!("with ***"));
    assert_eq!(job["output"], Value::Null);
    let seen = lines(&job);
    assert_eq!(seen[0], "STDOUT: the password is ***", "{seen:?}");
    assert!(
        seen[1].starts_with("SYSTEM: reports ignored: 1 that were no JSON object or too long, 1 values"),
        "{seen:?}"
    );
}

#[test]
fn progress_is_seen_by_subscribers_while_it_runs() {
    let gate = Arc::new(Notify::new());
    let (slow, quick) = (gate.clone(), gate.clone());
    let daemon = Embedded::start(move |builder| {
        builder
            .handler("async", move |ctx: HandlerContext, (): ()| {
                let gate = slow.clone();
                async move {
                    ctx.status("half way");
                    ctx.progress(5, 10);
                    gate.notified().await;
                    Ok::<_, String>(())
                }
            })
            .blocking_handler("blocking", move |ctx: HandlerContext, (): ()| {
                ctx.fraction(0.25);
                while !ctx.is_cancelled() {
                    pause(Duration::from_millis(1));
                }
                quick.notify_one();
                Ok::<_, String>(())
            })
    });
    let query =
        "subscription ($id: ID!) { jobFollow(id: $id) { job { state progress { fraction done status } } } }";
    let progress_of = |id: &str| {
        let follow = daemon.subscribe(query, &json!({ "id": id }));
        let mut jobs = follow.map(|message| message["data"]["jobFollow"]["job"].clone());
        let seen = jobs.find(|job| job["progress"]["fraction"].is_number()).expect("progress is shown");
        assert_eq!(seen["state"], json!("RUNNING"), "{seen}");
        seen["progress"].clone()
    };
    let id = daemon.call("async");
    assert_eq!(progress_of(&id), json!({"fraction": 0.5, "done": "5", "status": "half way"}));
    gate.notify_one();
    assert_eq!(daemon.ended(&id)["state"], json!("SUCCEEDED"));
    let id = daemon.call("blocking");
    assert_eq!(progress_of(&id)["fraction"], json!(0.25));
    daemon.offer("jobCancel", "JobCancelInput", "cursor", &json!({ "id": id }));
    assert_eq!(daemon.ended(&id)["state"], json!("CANCELLED"));
}

#[test]
fn a_long_text_is_cut_into_lines_and_none_is_lost() {
    let daemon = Embedded::start(|builder| {
        builder
            .handler("many", async |ctx: HandlerContext, (): ()| {
                let text: Vec<_> = (0..20_000).map(|number| number.to_string()).collect();
                ctx.log(text.join("\n")).await;
                Ok::<_, String>(())
            })
            .blocking_handler("long", |ctx: HandlerContext, (): ()| {
                ctx.blocking_log("x".repeat(100_000));
                Ok::<_, String>(())
            })
    });
    let job = daemon.ended(&daemon.call("many"));
    let seen = lines(&job);
    assert_eq!((seen.len(), seen[99].as_str()), (100, "STDOUT: 19999"));
    let query = "query ($id: ID!) { job(id: $id) { attempts { nodes { logBytes droppedLogBytes } } } }";
    let bytes =
        |id: &Value| daemon.graphql(query, &json!({ "id": id }))["job"]["attempts"]["nodes"][0].clone();
    assert_eq!(bytes(&job["id"]), json!({"logBytes": "108890", "droppedLogBytes": "0"}));
    let job = daemon.ended(&daemon.call("long"));
    assert_eq!(bytes(&job["id"]), json!({"logBytes": "100001", "droppedLogBytes": "0"}));
}
