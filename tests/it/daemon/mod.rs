//! The daemon as a process: killed, stopped, started badly, fed nonsense, reported to, measured. Everything through the front door.

mod bulk;
mod cli_look;
mod cli_site;
mod crash;
mod dependencies;
mod expiry;
mod following;
mod holds;
mod keys;
mod limits;
mod measures;
mod nudges;
mod parameters;
mod refusals;
mod reports;
mod retries;
mod schedules;
mod starting;
mod stopping;
mod timeouts;
