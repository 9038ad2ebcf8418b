//! Where jobs stand in traces: written with the job, claimed with it, forgotten with it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use beadle::base::asker::{Asker, working_for};
use beadle::domain::attempt::AttemptOutcome;
use beadle::domain::trace::TraceContext;
use beadle::store::prune::{Horizon, Prune};

use super::stage::{T0, new_job, on_both};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn the_span_that_a_job_was_asked_from_comes_and_goes_with_it() {
    on_both(async |stage| {
        let ci = Asker {
            actor: "ci".to_owned(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            fields: "jobEnqueue".to_owned(),
            trace: Some(TRACE.to_owned()),
        };
        let claimed = working_for(Arc::new(ci), stage.running(new_job())).await;
        assert_eq!(claimed.asked, TraceContext::parse(TRACE));
        let root = stage.running(new_job()).await;
        assert_eq!(root.asked, None);
        let ids = [claimed.job.id, root.job.id];
        let asked = stage.reader().asked_traces(&ids).await.expect("the store can be read");
        assert_eq!(asked.into_iter().collect::<Vec<_>>(), [(claimed.job.id, claimed.asked.expect("asked"))]);
        stage.end(&claimed, AttemptOutcome::Succeeded).await;
        let at = T0.plus_millis(1_000_000);
        stage.apply(Prune { horizon: Horizon { succeeded: at, failed: at, keys: at } }).await;
        assert_eq!(stage.number("SELECT count(*) FROM job_traces").await, 0);
    });
}
