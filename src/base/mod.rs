//! The ground floor: the only place that reads the clock, randomness and the environment.
//! It knows nothing of jobs, and must never use a module of a higher floor.

pub mod asker;
pub mod background;
pub mod clock;
pub mod descriptors;
pub mod environment;
pub mod json;
pub mod memory;
pub mod metrics;
pub mod points;
pub mod process;
pub mod pulse;
pub mod random;
pub mod service;
pub mod settings;
pub mod shutdown;
pub mod task;
pub mod telemetry;
