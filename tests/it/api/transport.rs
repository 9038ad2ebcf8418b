//! The two ways to subscribe, behind one face: what holds for one must hold for the other.

use std::time::Duration;

use serde_json::Value;

use crate::api::socket::Socket;
use crate::support::daemon::Daemon;
use crate::support::sse::{End, Sse};
use crate::support::wait::PATIENCE;

/// How a subscription travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Server-sent events.
    Sse,
    /// A web socket.
    Socket,
}

/// Both of them.
pub const BOTH: [Transport; 2] = [Transport::Sse, Transport::Socket];

/// An open subscription.
#[derive(Debug)]
pub enum Feed {
    /// Over server-sent events.
    Sse(Sse),
    /// Over a web socket.
    Socket(Socket),
}

impl Feed {
    /// Subscribes.
    pub fn open(transport: Transport, daemon: &Daemon, query: &str, variables: &Value) -> Feed {
        match transport {
            Transport::Sse => Feed::Sse(daemon.subscribe(query, variables)),
            Transport::Socket => {
                Feed::Socket(Socket::open(daemon.address(), daemon.token(), query, variables))
            }
        }
    }

    /// The next result, waited for at most `limit`.
    pub fn next_within(&mut self, limit: Duration) -> Result<Value, End> {
        match self {
            Feed::Sse(stream) => stream.next_within(limit).map(|message| message.result),
            Feed::Socket(socket) => socket.next_within(limit),
        }
    }

    /// The next result's data at `field`; the stream must neither end, nor fail, nor be silent.
    pub fn expect(&mut self, field: &str) -> Value {
        let mut result =
            self.next_within(PATIENCE).unwrap_or_else(|end| panic!("the stream is over: {end:?}"));
        assert!(result.get("errors").is_none(), "{result:#}");
        result["data"][field].take()
    }

    /// The next result's data at `field`, or `None` when the stream is complete. Any other end is a failure.
    pub fn next_or_complete(&mut self, field: &str) -> Option<Value> {
        match self.next_within(PATIENCE) {
            Ok(mut result) => {
                assert!(result.get("errors").is_none(), "{result:#}");
                Some(result["data"][field].take())
            }
            Err(End::Complete) => None,
            Err(end) => panic!("the stream did not complete: {end:?}"),
        }
    }

    /// The first error of a subscription that is refused.
    pub fn expect_error(&mut self) -> Value {
        let mut result = self.next_within(PATIENCE).expect("a refusal is told");
        assert!(
            result["data"].is_null()
                || result["data"].as_object().is_none_or(|data| data.values().all(Value::is_null)),
            "{result:#}"
        );
        result["errors"][0].take()
    }
}
