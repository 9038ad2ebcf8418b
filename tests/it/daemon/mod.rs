//! The daemon as a process: killed, stopped, started badly, fed nonsense, reported to, measured. Everything through the front door.

mod crash;
mod following;
mod measures;
mod refusals;
mod reports;
mod schedules;
mod starting;
mod stopping;
