//! Handlers that behave badly touch nothing but their own attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beadle::HandlerContext;
use beadle::base::clock::pause;
use serde_json::{Value, json};

use super::Embedded;
use crate::support::length::sized;
use crate::support::wait::{PATIENCE, now, until};

fn rows(daemon: &Embedded) -> Vec<Value> {
    let query = "{ health { status subsystems { name status restartCount } } }";
    daemon.graphql(query, &json!({}))["health"]["subsystems"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_handler_that_panics_a_hundred_times_restarts_nothing() {
    let daemon = Embedded::start(|builder| {
        builder
            .slots(4)
            .handler("bad", async |ctx: HandlerContext, (): ()| -> Result<(), String> {
                assert!(ctx.attempt() == 0, "a handler panics");
                Ok(())
            })
            .blocking_handler("worse", |ctx: HandlerContext, (): ()| -> Result<(), String> {
                assert!(ctx.attempt() == 0, "a thread panics");
                Ok(())
            })
            .handler("good", async |_: HandlerContext, (): ()| Ok::<_, String>(()))
    });
    let bad: Vec<_> = (0..sized(50, 500)).flat_map(|_| [daemon.call("bad"), daemon.call("worse")]).collect();
    let good = daemon.call("good");
    assert_eq!(daemon.ended(&good)["state"], json!("SUCCEEDED"));
    println!("parts: {} handlers panicked", bad.len());
    for id in &bad {
        assert_eq!(daemon.ended(id)["failure"]["outcome"], json!("PANICKED"));
    }
    for row in rows(&daemon) {
        assert_eq!((&row["status"], &row["restartCount"]), (&json!("OK"), &json!(0)), "{row}");
    }
}

#[test]
fn a_handler_that_blocks_a_thread_of_the_runtime_holds_its_slot_and_nothing_else() {
    let gate = Arc::new(AtomicBool::new(false));
    let handler_gate = gate.clone();
    let daemon = Embedded::start(|builder| {
        builder
            .slots(3)
            .handler("blocking", move |_: HandlerContext, (): ()| {
                let gate = handler_gate.clone();
                async move {
                    // What an async function must not do.
                    while !gate.load(Ordering::SeqCst) {
                        pause(Duration::from_millis(5));
                    }
                    Ok::<_, String>(())
                }
            })
            .handler("good", async |_: HandlerContext, (): ()| Ok::<_, String>(()))
    });
    let stuck = daemon.call("blocking");
    until("it to run", PATIENCE, || (daemon.job(&stuck)["state"] == json!("RUNNING")).then_some(()));
    let begun = now();
    for _ in 0..20 {
        let id = daemon.call("good");
        assert_eq!(daemon.ended(&id)["state"], json!("SUCCEEDED"));
    }
    println!("parts: 20 jobs beside a blocked thread in {:?}", begun.elapsed());
    assert_eq!(daemon.busy_slots(), json!(1));
    gate.store(true, Ordering::SeqCst);
    assert_eq!(daemon.ended(&stuck)["state"], json!("SUCCEEDED"));
}
