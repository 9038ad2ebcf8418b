//! The API as the world meets it: public clients, the committed schema, hostile requests, long streams.

mod attacks;
mod clients;
mod download;
mod filters;
mod flood;
mod follow;
mod memory;
mod node;
mod routes;
mod schema;
mod socket;
mod streams;
mod transport;
mod wire;
