//! Beadle: a task daemon you talk to in GraphQL.

pub mod base;
