//! What the tests stand on: a real daemon, a temporary PostgreSQL, clients, and waiting on conditions.
//! It must never know how the daemon works inside; it sees what a user sees.

pub mod cluster;
pub mod daemon;
pub mod database;
pub mod dice;
pub mod exposition;
pub mod history;
pub mod laws;
pub mod ledger;
pub mod length;
pub mod load;
pub mod machine;
pub mod past;
pub mod postgres;
pub mod printed;
pub mod program;
pub mod proxy;
pub mod ready;
pub mod receiver;
pub mod sse;
pub mod wait;
