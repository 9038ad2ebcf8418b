//! Every integration test, in one binary: one link, one place for support.
//! Tests go through the front door (the real binary, HTTP, the command line); the store's own suite runs on both engines.

mod api;
mod daemon;
mod dashboard;
mod embedded;
mod examples;
mod several;
mod sim;
mod store;
mod support;
mod tidy;
