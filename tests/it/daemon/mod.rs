//! The daemon as a process: killed, stopped, started badly, fed nonsense, measured. Everything through the front door.

mod crash;
mod expiry;
mod following;
mod holds;
mod keys;
mod measures;
mod refusals;
mod schedules;
mod starting;
mod stopping;
