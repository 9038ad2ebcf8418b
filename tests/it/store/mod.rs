//! The store's conformance suite: every claim is tried through the public Rust API on both engines.
//! It must never reach into tables, but to count rows or to break something on purpose.

mod claim;
mod enqueue;
mod events;
mod group_commit;
mod model;
mod plan;
mod seam;
mod several;
mod stage;
mod statements;
mod tasks;
mod transition;
