//! The daemon as a process: killed, stopped, started badly, fed nonsense, reported to, measured. Everything through the front door.

mod cli_look;
mod cli_site;
mod crash;
mod expiry;
mod following;
mod holds;
mod keys;
mod limits;
mod measures;
mod nudges;
mod refusals;
mod reports;
mod schedules;
mod starting;
mod stopping;
