//! Calls of functions, without a daemon: what they are given, what they hold, and what is heard of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::base::clock::{SystemClock, pause, sleep};
use crate::domain::limits::REPORT_LINE_BYTES_MAX;
use crate::exec::{Call, Calling, Handler, HandlerContext, Handlers, Heard, Piece, Returned, Told};

/// What was reported, line by line.
type Reports = Arc<Mutex<Vec<String>>>;

/// A call of `handler` with `parameters`, what it reports, its lines, and a weak hold on its place.
struct Called {
    calling: Calling,
    reports: Reports,
    lines: mpsc::Receiver<Vec<Piece>>,
    place: std::sync::Weak<()>,
}

fn call(handlers: &Handlers, handler: &Handler, parameters: Value) -> Called {
    let reports = Reports::default();
    let (heard, place) = (reports.clone(), Arc::new(()));
    let held = Arc::downgrade(&place);
    let hear = move |said: Heard| {
        let lines = said.lines.into_iter().map(|line| String::from_utf8(line).unwrap());
        heard.lock().unwrap().extend(lines);
        heard.lock().unwrap().extend((0..said.too_long_count).map(|_| "too long".to_owned()));
    };
    let told = Told { job_id: "job_7".to_owned(), attempt: 2, task_name: None, parameters };
    let call = Call { told, hear: Box::new(hear), clock: Arc::new(SystemClock), place };
    let (calling, lines) = handlers.call(handler, call).unwrap();
    Called { calling, reports, lines, place: held }
}

async fn outcome(handler: &Handler, parameters: Value) -> (Returned, Vec<String>) {
    let mut called = call(&Handlers::default(), handler, parameters);
    let returned = called.calling.wait().await;
    assert_eq!(called.calling.wait().await, returned, "it can be asked again");
    let reports = called.reports.lock().unwrap().clone();
    (returned, reports)
}

#[derive(Debug, Deserialize)]
struct Parcel {
    weight: u32,
    #[serde(default)]
    to: String,
}

#[derive(Debug, Deserialize)]
struct Options {
    #[serde(default)]
    deep: bool,
}

#[tokio::test]
async fn parameters_are_read_as_the_type_that_is_taken() {
    let parcel =
        |_: HandlerContext, parcel: Parcel| Ok::<_, String>(json!({"w": parcel.weight, "to": parcel.to}));
    let options = |_: HandlerContext, options: Options| Ok::<_, String>(json!({"deep": options.deep}));
    let optional = |_: HandlerContext, given: Option<u8>| Ok::<_, String>(json!({"given": given}));
    let nothing = |_: HandlerContext, (): ()| Ok::<_, String>(json!({}));
    let (parcel, options) = (Handler::blocking(parcel), Handler::blocking(options));
    let (optional, nothing) = (Handler::blocking(optional), Handler::blocking(nothing));
    for (handler, parameters, output) in [
        (&parcel, json!({"weight": 3, "to": "x", "more": 1}), r#"{"output":{"to":"x","w":3}}"#),
        (&options, Value::Null, r#"{"output":{"deep":false}}"#),
        (&options, json!({"deep": true}), r#"{"output":{"deep":true}}"#),
        (&optional, Value::Null, r#"{"output":{"given":null}}"#),
        (&optional, json!(7), r#"{"output":{"given":7}}"#),
        (&nothing, Value::Null, r#"{"output":{}}"#),
    ] {
        assert_eq!(outcome(handler, parameters.clone()).await, (Returned::Done, vec![output.to_owned()]));
    }
    for (handler, parameters, sign) in [
        (&parcel, Value::Null, "missing field `weight`"),
        (&parcel, json!({"weight": "heavy"}), "invalid type: string \"heavy\", expected u32"),
        (&nothing, json!({"a": 1}), "expected unit"),
    ] {
        let (returned, reports) = outcome(handler, parameters).await;
        let Returned::Failed(reason) = returned else { panic!("{returned:?}") };
        assert!(
            reason.starts_with("the parameters do not fit the handler: ") && reason.contains(sign),
            "{reason}"
        );
        assert_eq!(reports, [r#"{"noRetry":true}"#]);
    }
}

#[tokio::test]
async fn every_report_is_a_line_of_the_report_channel() {
    let handler = Handler::asynchronous(async |context: HandlerContext, (): ()| {
        context.progress(1, 4);
        context.fraction(0.5);
        context.status("so \"so\"");
        context.extend_timeout(Duration::from_millis(1_500));
        context.retry_after(Duration::from_secs(9));
        context.no_retry();
        context.mask("hunter22");
        context.output(vec![1]);
        context.status(&"x".repeat(REPORT_LINE_BYTES_MAX));
        Ok::<_, String>(())
    });
    let (returned, reports) = outcome(&handler, Value::Null).await;
    let expected = [
        r#"{"progress":{"done":1,"total":4}}"#,
        r#"{"progress":{"fraction":0.5}}"#,
        r#"{"status":"so \"so\""}"#,
        r#"{"extendTimeout":1.5}"#,
        r#"{"retryAfter":9.0}"#,
        r#"{"noRetry":true}"#,
        r#"{"mask":"hunter22"}"#,
        r#"{"output":[1]}"#,
        "too long",
    ];
    assert_eq!((returned, reports), (Returned::Done, expected.map(str::to_owned).to_vec()));
}

/// Says that it began, and keeps its thread until the gate is open.
fn stubborn(begun: &AtomicBool, gate: &AtomicBool) {
    begun.store(true, Ordering::SeqCst);
    while !gate.load(Ordering::SeqCst) {
        pause(Duration::from_millis(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_free_before_the_end_is_known_and_only_when_it_has_ended() {
    let handlers = Handlers::default();
    let flags: [Arc<AtomicBool>; 2] = Default::default();
    let ([begun, gate], [has_begun, open]) = (flags.clone(), flags.clone());
    let thread = Handler::blocking(move |_: HandlerContext, (): ()| {
        stubborn(&begun, &gate);
        Ok::<_, String>(())
    });
    let [begun, gate] = flags;
    // It never waits, so it cannot be dropped where it waits.
    let hard = Handler::asynchronous(move |_: HandlerContext, (): ()| {
        let (begun, gate) = (begun.clone(), gate.clone());
        async move {
            stubborn(&begun, &gate);
            Ok::<_, String>(())
        }
    });
    for (handler, can_be_killed) in [(&thread, false), (&hard, true)] {
        open.store(true, Ordering::SeqCst);
        let mut called = call(&handlers, handler, Value::Null);
        assert_eq!(called.calling.wait().await, Returned::Done);
        assert_eq!(called.place.strong_count(), 0);

        open.store(false, Ordering::SeqCst);
        has_begun.store(false, Ordering::SeqCst);
        let called = call(&handlers, handler, Value::Null);
        while !has_begun.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(called.calling.kill(), can_be_killed);
        assert_eq!(called.calling.leave_behind(), Returned::LeftBehind);
        assert_eq!((handlers.left_behind_count(), called.place.strong_count()), (1, 1));
        open.store(true, Ordering::SeqCst);
        while handlers.left_behind_count() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(called.place.strong_count(), 0);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_and_is_no_longer_heard() {
    let handler = Handler::asynchronous(async |context: HandlerContext, (): ()| {
        let outlives = context.clone();
        context.log("begun").await;
        crate::base::task::spawn(async move {
            outlives.cancelled().await;
            outlives.status("late");
            outlives.log("late").await;
        });
        std::future::pending::<()>().await;
        Ok::<_, String>(())
    });
    let Called { calling, reports, mut lines, place } = call(&Handlers::default(), &handler, Value::Null);
    assert_eq!(lines.recv().await.unwrap()[0].bytes, b"begun");
    drop(calling);
    while place.strong_count() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(lines.recv().await.unwrap()[0].bytes, b"late");
    assert_eq!(lines.recv().await, None);
    assert_eq!(reports.lock().unwrap().as_slice(), &[] as &[String]);
}
