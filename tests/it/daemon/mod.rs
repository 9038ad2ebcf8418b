//! The daemon as a process: killed, stopped, started badly, fed nonsense, reported to, measured. Everything through the front door.

mod crash;
mod expiry;
mod following;
mod holds;
mod keys;
mod logs;
mod measures;
mod nudges;
mod progress;
mod refusals;
mod reports;
mod schedules;
mod starting;
mod stopping;
