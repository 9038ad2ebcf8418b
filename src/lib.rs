//! Beadle: a task daemon you talk to in GraphQL.

pub mod app;
pub mod base;
pub mod cli;
pub mod client;
pub mod domain;
pub mod engine;
pub mod exec;
pub mod graphql;
pub mod store;
pub mod web;
