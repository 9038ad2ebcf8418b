//! Owns the keeping of days of output, where the store has them: the next one is made ahead, and old ones go whole. It must
//! never take a day of which a log still grows.

use std::time::{Duration, Instant};

use super::Engine;
use super::retention::BATCH_PAUSE;
use crate::base::clock;
use crate::store::log_days::{DayEnd, LogDay};
use crate::store::{Fault, FaultKind};

/// How often the old days are looked at.
const TIDY_EVERY: Duration = Duration::from_hours(1);
/// A day is over when it ended so long ago, in milliseconds: the clocks of other machines differ.
const OVER_AFTER_MS: i64 = 3_600_000;
/// What is kept for shorter than this has its output deleted at once, not with its day.
const KEPT_MIN: Duration = Duration::from_hours(24);

/// What is remembered between two sweeps.
#[derive(Debug, Default)]
pub struct Days {
    tidied_at: Option<Instant>,
}

impl Days {
    /// Whether output stays, once its attempt is gone, until its day goes.
    pub fn hold_what_is_gone(engine: &Engine) -> bool {
        let settings = &engine.settings;
        engine.logs.is_in_days() && settings.retention_succeeded.min(settings.retention_failed) >= KEPT_MIN
    }

    /// Makes today and tomorrow; once in a while takes the days away of which nothing is known any more, and from the
    /// others what is not.
    pub async fn keep(&mut self, engine: &Engine) -> Result<(), String> {
        if !engine.logs.is_in_days() {
            return Ok(());
        }
        let today = LogDay::of(engine.clock.now());
        for day in [today, today.next()] {
            if let Err(fault) = engine.logs.make_day(day).await {
                // Until then rows lie in the rest, from where they are moved.
                later(&fault)?;
            }
        }
        let now = engine.clock.monotonic();
        if self.tidied_at.is_some_and(|at| now.duration_since(at) < TIDY_EVERY) {
            return Ok(());
        }
        tidy(engine).await?;
        self.tidied_at = Some(now);
        Ok(())
    }
}

/// A wait that was too long is tried again with the next sweep.
fn later(fault: &Fault) -> Result<(), String> {
    if fault.kind != FaultKind::Locked {
        return Err(fault.to_string());
    }
    tracing::debug!("a day of logs is made or taken away later: {fault}");
    Ok(())
}

async fn tidy(engine: &Engine) -> Result<(), String> {
    let said = |fault: Fault| fault.to_string();
    let logs = &engine.logs;
    if let Some(first) = logs.days().await.map_err(said)?.first() {
        while !engine.shutdown.is_begun() && logs.remove_unknown_before(*first).await.map_err(said)? > 0 {
            clock::sleep(BATCH_PAUSE).await;
        }
    }
    for day in over(engine).await? {
        if !logs.is_known(day).await.map_err(said)? {
            forget(engine, day).await?;
            continue;
        }
        while !engine.shutdown.is_begun() && logs.remove_unknown(day).await.map_err(said)? > 0 {
            clock::sleep(BATCH_PAUSE).await;
        }
    }
    Ok(())
}

/// The oldest day that is over; none where output does not lie in days.
pub async fn oldest(engine: &Engine) -> Result<Option<LogDay>, String> {
    if !engine.logs.is_in_days() {
        return Ok(None);
    }
    Ok(over(engine).await?.first().copied())
}

/// How room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Some was made, by us or by another worker: what is wanted is to be seen anew.
    Made,
    /// Not by days: the logs go one by one.
    ByLogs,
    /// Another worker makes some: with the next sweep.
    Later,
}

/// Makes room by the oldest day, when that is no more than is wanted, or leaves at least half of the limit.
pub async fn make_room(engine: &Engine, day: Option<LogDay>, excess: i64) -> Result<Room, String> {
    let Some(day) = day else { return Ok(Room::ByLogs) };
    if oldest(engine).await? != Some(day) {
        return Ok(Room::Made);
    }
    // First what nobody would miss.
    if engine.logs.remove_unknown(day).await.map_err(|fault| fault.to_string())? > 0 {
        return Ok(Room::Made);
    }
    let weight = engine.logs.weight_of(day).await.map_err(|fault| fault.to_string())?;
    if !may_go_whole(weight, excess, engine.settings.retention_log_bytes) {
        return Ok(Room::ByLogs);
    }
    Ok(match forget(engine, day).await? {
        DayEnd::Gone => Room::Made,
        DayEnd::Grows => Room::ByLogs,
        DayEnd::Busy => Room::Later,
    })
}

/// Whether a day of that weight goes whole where so much is more than the limit: else its logs go one by one, the oldest
/// first, as far as they must.
fn may_go_whole(weight: i64, excess: i64, limit: i64) -> bool {
    weight <= excess || limit + excess - weight >= limit / 2
}

/// The days that are over, the oldest first.
async fn over(engine: &Engine) -> Result<Vec<LogDay>, String> {
    let now = engine.clock.now().plus_millis(-OVER_AFTER_MS);
    let days = engine.logs.days().await.map_err(|fault| fault.to_string())?;
    Ok(days.into_iter().filter(|day| day.ends_at() <= now).collect())
}

async fn forget(engine: &Engine, day: LogDay) -> Result<DayEnd, String> {
    let end = engine.logs.forget_day(day, engine.clock.now()).await.map_err(|fault| fault.to_string())?;
    if end == DayEnd::Gone {
        tracing::info!(day = %day.begins_at(), "a day of logs is gone");
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_goes_whole_when_that_is_wanted_or_leaves_half_of_the_limit() {
        for (weight, excess, may) in
            [(0, 1, true), (5, 5, true), (60, 10, true), (61, 10, false), (110, 10, false), (110, 110, true)]
        {
            assert_eq!(may_go_whole(weight, excess, 100), may, "{weight} {excess}");
        }
    }
}
