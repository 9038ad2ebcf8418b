//! Owns the client that all measurements share. It runs on the cores that it measures, so it must never do more than
//! send bytes that were made before, find the end of an answer and hand it on.

pub mod closed_loop;
pub mod crowd;
pub mod http;
pub mod socket;

pub use closed_loop::{Load, Until};
pub use http::{Http, request};
pub use socket::Socket;
