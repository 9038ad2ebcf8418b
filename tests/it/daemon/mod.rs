//! The daemon as a process: killed, stopped, started badly, fed nonsense, reported to, measured. Everything through the front door.

mod crash;
mod expiry;
mod following;
mod holds;
mod keys;
mod measures;
mod nudges;
mod refusals;
mod reports;
mod schedule_rules;
mod schedules;
mod starting;
mod stepped_clock;
mod stopping;
