//! The store's conformance suite: every claim is tried through the public Rust API on both engines.
//! It must never reach into tables, but to count rows or to break something on purpose.

mod blockers;
mod bulk;
mod claim;
mod clock_steps;
mod dependencies;
mod enqueue;
mod estimates;
mod events;
mod full_disk;
mod group_commit;
mod incidents;
mod job_lists;
mod job_traces;
mod limits;
mod log_room;
mod log_search;
mod logs;
mod model;
mod open;
mod overlaps;
mod parties;
mod plan;
mod prune;
mod schedules;
mod seam;
mod several;
mod sight;
mod sinks;
mod stage;
mod statements;
mod suspects;
mod task_history;
mod tasks;
mod transition;
mod waits;
