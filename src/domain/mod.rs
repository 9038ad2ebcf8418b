//! The words and rules of the product, as plain data and pure functions.
//! No clock, no randomness, no I/O: everything a decision needs is passed in.

pub mod access;
pub mod attempt;
pub mod backoff;
pub mod calendar;
pub mod command;
pub mod concurrency;
pub mod cron;
pub mod duration;
pub mod enqueue;
pub mod event;
pub mod filter;
pub mod glob;
pub mod health;
pub mod id;
pub mod job;
pub mod lifecycle;
pub mod limits;
pub mod log;
pub mod mask;
pub mod new_job;
pub mod queue;
pub mod rejection;
pub mod report;
pub mod resume;
pub mod retry;
pub mod scalars;
pub mod schedule;
pub mod settle;
pub mod task;
pub mod timing;
pub mod token;
pub mod worker;
pub mod zone;
