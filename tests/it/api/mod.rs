//! The API as the world meets it: public clients, the committed schema, hostile requests, long streams.

mod attacks;
mod audit;
mod clients;
mod documents;
mod download;
mod fast_paths;
mod filters;
mod flood;
mod follow;
mod grants;
mod incidents;
mod memory;
mod metrics;
pub mod node;
mod own_jobs;
pub mod pages;
mod pressure;
mod routes;
mod schema;
mod shared;
mod socket;
mod streams;
mod subjects;
mod tokens;
pub mod transport;
mod wire;
