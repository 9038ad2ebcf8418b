//! The daemon as a process: killed, stopped, started badly, fed nonsense, reported to, measured. Everything through the front door.

mod bulk;
mod cli_look;
mod cli_site;
mod crash;
mod dependencies;
mod expiry;
mod following;
mod holds;
mod incidents;
mod keys;
mod limits;
mod logs;
mod measures;
mod nudges;
mod parameters;
mod progress;
mod refusals;
mod reports;
mod retries;
mod schedule_lanes;
mod schedule_rules;
mod schedules;
mod starting;
mod stepped_clock;
mod stopping;
mod timeouts;
