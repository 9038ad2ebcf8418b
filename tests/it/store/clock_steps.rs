//! The scheduler under a wall clock that is stepped and swings: the real look, the real store, and a clock that only
//! the test moves. Whatever the clock does, each due time stands in one row of the ledger and makes at most one job.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use beadle::base::clock::{Clock, Timestamp};
use beadle::base::random::{Random, SeededRandom};
use beadle::base::shutdown::Shutdown;
use beadle::domain::access::Viewer;
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::concurrency::LimitKey;
use beadle::domain::duration::Span;
use beadle::domain::id::{ScheduleId, TokenId};
use beadle::domain::job::JobOrigin;
use beadle::domain::scalars::Json;
use beadle::domain::schedule::{
    MisfirePolicy, OverlapPolicy, ScheduleDefinition, SchedulePutInput, ScheduleRef, Tick, TickOutcome,
    TimingInput,
};
use beadle::domain::task::TaskRef;
use beadle::domain::timing::Timing;
use beadle::engine::supervisor::Ground;
use beadle::engine::{Engine, EngineSettings, Parts, health, recorder, running, scheduler, spool};
use beadle::store::schedules::ScheduleAction;
use tokio::sync::Notify;

use super::schedules::{change, every, put, schedule, with_task};
use super::stage::{Hand, QUEUED_MAX, Stage, T0, on_both};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// An engine over the store of a hand, with the stage's clock.
pub async fn engine(stage: &Stage, hand: &Hand) -> Engine {
    let logs = stage.hand.store().logs();
    let health = health::HealthBoard::default();
    let ground = Ground { health, clock: stage.clock.clone(), random: stage.random.clone() };
    let (recorder, _) = recorder::channel(logs.clone(), ground, 0);
    let spool = tempfile::tempdir().expect("a temporary directory can be made");
    let spool = spool::Spool::open(spool.path(), hand.reader.epoch()).expect("an empty directory");
    Engine::new(Parts {
        reader: hand.reader.clone(),
        care: stage.hand.store().care(stage.clock.clone()),
        spool,
        own: hand.reader.clone(),
        writer: hand.writer.clone(),
        logs,
        recorder,
        clock: stage.clock.clone(),
        random: stage.random.clone(),
        settings: EngineSettings {
            slots: 1,
            poll_interval: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(1),
            kill_grace: Duration::from_secs(1),
            queued_max: QUEUED_MAX,
            retention_succeeded: Duration::from_hours(24),
            retention_failed: Duration::from_hours(24),
            retention_log_bytes: 0,
            free_bytes_min: 0,
            log_attempt_cap: 0,
            data_dir: PathBuf::new(),
            work_directory: PathBuf::new(),
            report_directory: PathBuf::new(),
        },
        worker: stage.worker().await,
        worker_name: "here:1".to_owned(),
        mark: String::new(),
        lease: beadle::engine::lease::Lease::unneeded(),
        predecessor: None,
        sharing: None,
        started_at: stage.clock.now(),
        shutdown: Shutdown::default(),
        health: health::HealthBoard::default(),
        running: running::Running::default(),
        recent: beadle::engine::recent::Recent::default(),
        slots: beadle::engine::places::Slots::new(1),
        metrics: hand.writer.metrics().clone(),
        handlers: beadle::exec::Handlers::default(),
        starting: beadle::engine::starting::Starting::default(),
        cgroup: None,
        host: "here".to_owned(),
        tokens: beadle::engine::tokens::TokenBoard::default(),
        is_called: false.into(),
        nudge_dispatcher: Notify::new(),
        nudge_scheduler: Notify::new(),
    })
}

/// The ledger, oldest first.
async fn ledger(stage: &Stage, id: ScheduleId) -> Vec<Tick> {
    let page = stage.reader().ticks(id, i64::MAX, 100_000).await.expect("the store can be read");
    page.rows.into_iter().rev().map(|(_, tick)| tick).collect()
}

/// The ledger, oldest first: newest due time (in seconds from the beginning), outcome, count.
async fn rows(stage: &Stage, id: ScheduleId) -> Vec<(i64, TickOutcome, i32)> {
    let ticks = ledger(stage, id).await;
    ticks.iter().map(|tick| ((tick.due_at.0 - T0.0) / 1_000_000, tick.outcome, tick.count)).collect()
}

/// Walks the ledger beside the rule's own due times: every one of them from `from` on stands in one row, in order.
async fn check(stage: &Stage, id: ScheduleId, from: Timestamp, what: &str) {
    let stands = schedule(stage, id).await;
    let timing = stands.definition.compile(&stands.name).expect("it was put");
    let due: Vec<Timestamp> =
        timing.due_in(from, stands.settled_until, usize::MAX).iter().map(|due| due.tick).collect();
    let (mut next, mut jobs, mut made) = (0, BTreeSet::new(), 0);
    for tick in ledger(stage, id).await {
        assert_eq!(Some(&tick.first_due_at), due.get(next), "{what}: {tick:?}");
        next += usize::try_from(tick.count).expect("a count");
        assert_eq!(tick.due_at, due[next - 1], "{what}: {tick:?}");
        made += usize::from(tick.job_id.is_some());
        jobs.extend(tick.job_id);
        let with_job = matches!(tick.outcome, TickOutcome::Started | TickOutcome::CaughtUp);
        assert_eq!(tick.job_id.is_some(), with_job, "{what}: {tick:?}");
    }
    assert_eq!(next, due.len(), "{what}: a due time is in no row");
    assert_eq!(jobs.len(), made, "{what}: two rows share a job");
    let stored = stage.number(&format!("SELECT count(*) FROM jobs WHERE schedule_id = {}", id.0)).await;
    assert_eq!(usize::try_from(stored), Ok(made), "{what}: a job without a row");
}

async fn look(engine: &Engine) -> Duration {
    scheduler::look(engine).await.expect("the store answers")
}

#[test]
fn a_clock_that_is_stepped_loses_no_due_time_and_repeats_none() {
    on_both(async |stage| {
        with_task(&stage).await;
        let rule = ScheduleDefinition { overlap: OverlapPolicy::Allow, ..every(60) };
        let rule = ScheduleDefinition { misfire_window: Span::from_secs(2 * 86_400), ..rule };
        let id = stage.apply(put("s", rule, None)).await;
        let engine = engine(&stage, &stage.hand).await;
        // The first minute that is whole after the beginning.
        let whole = 60_000 - T0.0 / 1_000 % 60_000;
        let at = async |millis: i64| {
            stage.clock.set(T0.plus_millis(whole + millis));
            look(&engine).await
        };
        at(100).await;
        at(DAY_MS + 100).await;
        let wait = at(DAY_MS - HOUR_MS + 100).await;
        assert!(wait <= Duration::from_secs(1), "the clock may be stepped again while it waits: {wait:?}");
        for minute in 0..60 {
            at(DAY_MS - HOUR_MS + minute * 60_000 + 200).await;
        }
        at(DAY_MS + 60_100).await;
        // Swings of five minutes.
        at(DAY_MS + 60_100 + 300_000).await;
        for millis in [100, 60_000, 299_000] {
            at(DAY_MS + 60_100 + millis).await;
        }
        at(DAY_MS + 60_100 + 360_000).await;
        let second = |millis: i64| (whole + millis) / 1_000;
        let expected = [
            (second(0), TickOutcome::Started, 1),
            (second(DAY_MS), TickOutcome::CaughtUp, 24 * 60),
            (second(DAY_MS + 60_000), TickOutcome::Started, 1),
            (second(DAY_MS + 360_000), TickOutcome::CaughtUp, 5),
            (second(DAY_MS + 420_000), TickOutcome::Started, 1),
        ];
        assert_eq!(rows(&stage, id).await, expected);
        check(&stage, id, T0, "steps").await;
    });
}

#[test]
fn jobs_of_a_schedule_get_its_parameters_its_limit_and_go_back_to_their_queue() {
    on_both(async |stage| {
        with_task(&stage).await;
        let parameters = Some(Json(serde_json::json!({"region": "eu", "n": [1, null]})));
        let rule = ScheduleDefinition {
            overlap: OverlapPolicy::QueueAll,
            parameters: parameters.clone(),
            ..every(10)
        };
        let id = stage.apply(put("s", rule, None)).await;
        assert_eq!(schedule(&stage, id).await.definition.parameters, parameters);
        let engine = engine(&stage, &stage.hand).await;
        stage.pass_millis(10_001);
        look(&engine).await;
        let job = ledger(&stage, id).await[0].job_id.expect("it made a job");
        let job = stage.job(job).await;
        assert_eq!((job.parameters, job.limit_key), (parameters, Some(LimitKey::Schedule(id))));
        assert_eq!((job.origin, job.is_restartable, job.token_id), (JobOrigin::Schedule, true, None));
    });
}

fn viewer() -> Viewer {
    Viewer { token_id: TokenId(1), token_name: "me".to_owned(), grants: Vec::new(), expires_at: None }
}

#[test]
fn what_was_due_before_a_pause_or_a_new_rule_is_settled_as_the_old_one_said() {
    on_both(async |stage| {
        with_task(&stage).await;
        let rule = ScheduleDefinition { overlap: OverlapPolicy::Allow, ..every(10) };
        let id = stage.apply(put("s", rule, None)).await;
        let engine = engine(&stage, &stage.hand).await;
        // Nobody has looked since the due times passed.
        stage.pass_millis(10_001);
        let pause = ScheduleAction::Pause { reason: None, until: None };
        engine.change_schedule(&viewer(), ScheduleRef::Id(id), pause).await.expect("it can be paused");
        stage.pass_millis(10_000);
        let input = SchedulePutInput {
            name: "s".to_owned(),
            task: TaskRef::Name("t".to_owned()),
            timing: TimingInput::Every(Span::from_secs(60)),
            time_zone: "UTC".to_owned(),
            jitter: Span::ZERO,
            misfire: MisfirePolicy::RunOnce,
            misfire_window: Span::from_secs(60),
            overlap: OverlapPolicy::Allow,
            parameters: None,
            is_paused: Some(false),
        };
        engine.put_schedule(&viewer(), input).await.expect("it can be put");
        let expected = [(10, TickOutcome::Started, 1), (20, TickOutcome::SkippedPaused, 1)];
        assert_eq!(rows(&stage, id).await, expected);
        assert_eq!(schedule(&stage, id).await.settled_until, T0.plus_millis(20_001));
    });
}

#[test]
fn a_run_by_hand_is_the_caller_s_and_stands_in_line_unless_it_is_told_not_to() {
    on_both(async |stage| {
        with_task(&stage).await;
        let parameters = Some(Json(serde_json::json!({"a": 1})));
        let rule = ScheduleDefinition { overlap: OverlapPolicy::QueueAll, ..every(10) };
        let id =
            stage.apply(put("s", ScheduleDefinition { parameters: parameters.clone(), ..rule }, None)).await;
        let engine = engine(&stage, &stage.hand).await;
        for (ignores, limit_key) in [(false, Some(LimitKey::Schedule(id))), (true, None)] {
            let made = engine.trigger_schedule(&viewer(), &ScheduleRef::Id(id), ignores, None).await;
            let job = stage.job(made.expect("it can be started").0).await;
            assert_eq!((job.limit_key, job.token_id), (limit_key, Some(TokenId(1))));
            assert_eq!((job.parameters, job.requested_by.as_str()), (parameters.clone(), "me"));
        }
    });
}

/// What a stretch of the walk does to the clock, in milliseconds.
fn move_of(random: &SeededRandom) -> i64 {
    let unit = random.unit();
    #[expect(clippy::cast_possible_truncation, reason = "at most 25,000")]
    let on = (random.unit() * 25_000.0) as i64 + 1;
    match unit {
        unit if unit < 0.06 => DAY_MS,
        unit if unit < 0.12 => -HOUR_MS,
        unit if unit < 0.22 => 5 * 60_000,
        unit if unit < 0.32 => -5 * 60_000,
        unit if unit < 0.40 => HOUR_MS,
        _ => on,
    }
}

/// One of each policy, an interval with jitter, and patterns of both kinds by the clocks of `zone`.
async fn schedules(stage: &Stage, zone: &str) -> Vec<ScheduleId> {
    use {MisfirePolicy as M, OverlapPolicy as O};
    let cron = |cron: &str| Timing::Cron { cron: cron.to_owned() };
    let interval = || every(30).timing;
    let mut ids = Vec::new();
    for (number, (timing, jitter, misfire, overlap)) in [
        (interval(), 0, M::RunOnce, O::Skip),
        (interval(), 20, M::RunAll, O::QueueOne),
        (interval(), 0, M::Skip, O::QueueAll),
        (interval(), 7, M::RunOnce, O::CancelRunning),
        (cron("30 2 * * *"), 0, M::RunOnce, O::Allow),
        (cron("15,45 1-3 * * *"), 90, M::RunAll, O::Allow),
        (cron("*/10 * * * *"), 0, M::Skip, O::Skip),
    ]
    .into_iter()
    .enumerate()
    {
        let rule = ScheduleDefinition {
            timing,
            time_zone: zone.to_owned(),
            jitter: Span::from_secs(jitter),
            misfire,
            overlap,
            ..every(30)
        };
        ids.push(stage.apply(put(&format!("s{number}"), rule, None)).await);
    }
    ids
}

/// Ends some of what waits, as workers would.
async fn work(stage: &Stage, random: &SeededRandom) {
    let worker = stage.worker().await;
    let slots = if random.unit() < 0.5 { 3 } else { 0 };
    for claimed in stage.hand.claim(worker, slots).await {
        let outcome = if random.unit() < 0.8 { AttemptOutcome::Succeeded } else { AttemptOutcome::Exited };
        stage.end(&claimed, outcome).await;
    }
}

#[test]
fn a_clock_that_does_what_it_likes_over_changes_of_clocks_in_three_zones() {
    for (seed, zone, from) in [
        (1, "Europe/Berlin", "2026-03-28T12:00:00Z"),
        (2, "Europe/Berlin", "2026-10-24T12:00:00Z"),
        (3, "America/New_York", "2026-03-07T12:00:00Z"),
        (4, "America/New_York", "2026-10-31T12:00:00Z"),
        (5, "Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
        (6, "Australia/Lord_Howe", "2026-10-03T00:00:00Z"),
    ] {
        on_both(async |stage| {
            println!("seed {seed}, {zone}");
            let random = SeededRandom::new(seed);
            let from = Timestamp::parse(from).expect("an instant");
            stage.clock.set(from);
            with_task(&stage).await;
            let ids = schedules(&stage, zone).await;
            // Two daemons look at the same store.
            let other = stage.another_hand().await;
            let (one, two) = (engine(&stage, &stage.hand).await, engine(&stage, &other).await);
            for _ in 0..60 {
                stage.pass_millis(move_of(&random));
                if random.unit() < 0.05 {
                    let paused = ids[0];
                    let until = (random.unit() < 0.5).then(|| stage.clock.now().plus_millis(60_000));
                    stage.apply(change(paused, ScheduleAction::Pause { reason: None, until })).await;
                } else if random.unit() < 0.1 {
                    stage.apply(change(ids[0], ScheduleAction::Resume)).await;
                }
                let _ = tokio::join!(look(&one), look(&two));
                work(&stage, &random).await;
            }
            // It ends ahead of everything that it has shown, so that nothing is left to come.
            stage.pass_millis(DAY_MS);
            look(&one).await;
            for id in ids {
                check(&stage, id, from, &format!("seed {seed}, {zone}, {id}")).await;
            }
            let twice: i64 = stage
                .number("SELECT count(*) FROM (SELECT job_id FROM ticks WHERE job_id IS NOT NULL GROUP BY job_id HAVING count(*) > 1) AS twice")
                .await;
            assert_eq!(twice, 0);
            drop((one, two));
            if !stage.is_sqlite() {
                other.close().await;
            }
        });
    }
}
