//! The recovery beside a dispatcher that claims: what was taken a moment ago is nobody's leftover.

use std::time::Duration;

use beadle::base::clock::within;
use beadle::domain::job::JobState;
use beadle::engine::reaper;

use super::clock_steps::engine;
use super::stage::{new_job, on_both};

/// Long enough for a recovery that waits for nobody.
const WINDOW: Duration = Duration::from_millis(200);

#[test]
fn what_a_claim_took_and_did_not_list_yet_is_not_ended() {
    on_both(async |stage| {
        let engine = engine(&stage, &stage.hand).await;
        let id = stage.enqueue(new_job()).await;
        let claiming = engine.running.claiming().await;
        let claimed = stage.hand.claim(engine.worker, 1).await.remove(0);
        let mut recovering = std::pin::pin!(reaper::recover(&engine));
        assert!(within(WINDOW, recovering.as_mut()).await.is_none(), "it waits for the list");
        let entry = engine.running.enter(claimed.attempt, id);
        drop(claiming);
        assert_eq!(recovering.await, Ok(0));
        assert_eq!(stage.state(id).await, JobState::Running);
        // One that no claim is about, and no runner has, is left.
        drop(entry);
        assert_eq!(reaper::recover(&engine).await, Ok(1));
        assert_eq!(stage.state(id).await, JobState::Queued);
    });
}
