//! Owns the sending of a request and what its answer means: taken, later, or never. One try, bounded in time and in
//! bytes; a redirect is not followed, a proxy of the environment is not used. It must never try again by itself.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::DateTime;
use tokio::sync::oneshot;
use ureq::Agent;
use ureq::config::{AutoHeaderValue, Config};
use ureq::unversioned::transport::DefaultConnector;

use super::address::{Guard, Reach};
use super::{Part, Request, VERSION};
use crate::base::clock::Timestamp;

/// How long one request may take, from the look-up of the name to the last byte.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const REPLY_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of its headers.
const REPLY_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Characters of an answer that are kept for people.
const REPLY_SHOWN: usize = 200;
/// A sink that asks for a longer pause than this is asked again all the same.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The sink has taken it.
    Delivered,
    /// It has not, and may another time.
    Later {
        /// Why, for people.
        why: String,
        /// How long it asked us to wait.
        after: Option<Duration>,
        /// Whose fault it may be.
        blame: Blame,
    },
    /// It will never take it.
    Refused {
        /// Why, for people.
        why: String,
        /// Whether it has said so of each thing, so that nothing is told again in smaller parts.
        is_final: bool,
    },
}

/// What became of one of several requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What it told.
    pub part: Part,
    /// What became of it.
    pub answer: Answer,
    /// Whether the sink has no such place.
    pub is_absent: bool,
    /// What it said of some that it refused while it took the others. Nobody knows which, and nothing is told again.
    pub remark: Option<String>,
}

/// Whose fault it may be that something was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The sink's or the way's: nothing else would be taken either.
    Sink,
    /// Perhaps that of what was sent: the sink answered, with an error of its own.
    Message,
}

/// Sends requests to one sink. Its connections are kept open.
#[derive(Debug, Clone)]
pub struct Courier {
    agent: Agent,
}

impl Courier {
    /// Sends to where `reach` allows.
    pub fn new(reach: Reach) -> Courier {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(AutoHeaderValue::Provided(Arc::new(format!("beadle/{VERSION}"))))
            .timeout_global(Some(REQUEST_LIMIT))
            .max_response_header_size(REPLY_HEADER_BYTES_MAX)
            .max_idle_connections(1)
            .build();
        Courier { agent: Agent::with_parts(config, DefaultConnector::default(), Guard::new(reach)) }
    }

    /// Sends the requests in order, on a thread of its own, up to the first that shows that nothing is taken now. Nothing
    /// waits for the thread: the program may end while a sink is silent.
    pub async fn send(&self, requests: Vec<Request>, now: Timestamp) -> Vec<Sent> {
        let Some(first) = requests.first().map(|request| request.part) else { return Vec::new() };
        let (tell, told) = oneshot::channel();
        let agent = self.agent.clone();
        let started = thread::Builder::new().name("sink".to_owned()).spawn(move || {
            let mut all = Vec::new();
            for request in &requests {
                all.push(send(&agent, request, now));
                if all
                    .last()
                    .is_some_and(|sent| matches!(sent.answer, Answer::Later { blame: Blame::Sink, .. }))
                {
                    break;
                }
            }
            // Whoever asked may have gone away.
            let _ = tell.send(all);
        });
        let unsent = |why: String| {
            let answer = Answer::Later { why, after: None, blame: Blame::Sink };
            vec![Sent { part: first, answer, is_absent: false, remark: None }]
        };
        match started {
            Ok(_) => told.await.unwrap_or_else(|_| unsent("the sender failed".to_owned())),
            Err(error) => unsent(format!("no thread could be started: {error}")),
        }
    }
}

fn send(agent: &Agent, request: &Request, now: Timestamp) -> Sent {
    let mut remark = None;
    let (answer, status) = ask(agent, request, &mut remark, now);
    Sent { part: request.part, answer, is_absent: matches!(status, Some(404 | 405 | 501)), remark }
}

/// What the answer means, and its status when there was one.
fn ask(
    agent: &Agent,
    request: &Request,
    remark: &mut Option<String>,
    now: Timestamp,
) -> (Answer, Option<u16>) {
    let mut call = agent.post(&request.url);
    for (name, value) in &request.headers {
        call = call.header(name, value);
    }
    let mut answer = match call.send(&request.body[..]) {
        Ok(answer) => answer,
        Err(error) => {
            let why = shown(&error.to_string());
            return (Answer::Later { why, after: None, blame: Blame::Sink }, None);
        }
    };
    let status = answer.status().as_u16();
    let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| pause_asked(text, now));
    // Read to its end where it is short, so that the connection can be used again; the rest of a long one is left.
    let reply = answer.body_mut().with_config().limit(REPLY_BYTES_MAX).read_to_vec().unwrap_or_default();
    if (200..300).contains(&status) {
        let answer = match (request.complaint)(&reply) {
            Some((count, why)) if count >= request.count => {
                Answer::Refused { why: shown(&why), is_final: true }
            }
            complaint => {
                *remark = complaint.map(|(_, why)| shown(&why));
                Answer::Delivered
            }
        };
        return (answer, Some(status));
    }
    (judge(status, after, &reply), Some(status))
}

/// What is kept of a text that comes from outside. One with U+0000 could not stand in the store.
fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(REPLY_SHOWN).map(clean).collect()
}

/// What an answer that is no success means.
fn judge(status: u16, after: Option<Duration>, reply: &[u8]) -> Answer {
    let reply = shown(&String::from_utf8_lossy(reply));
    let why = if reply.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {reply}")
    };
    match status {
        // These say that the sink takes nothing now.
        408 | 425 | 429 | 503 => Answer::Later { why, after, blame: Blame::Sink },
        // A redirect is not followed: it could lead into our own network.
        300..400 => Answer::Later {
            why: format!("{why} (a redirect, which is not followed)"),
            after,
            blame: Blame::Sink,
        },
        400..500 => Answer::Refused { why, is_final: false },
        _ => Answer::Later { why, after, blame: Blame::Message },
    }
}

/// The pause of a `Retry-After`: seconds, or an instant.
fn pause_asked(text: &str, now: Timestamp) -> Option<Duration> {
    let pause = if let Ok(seconds) = text.trim().parse() {
        Duration::from_secs(seconds)
    } else {
        let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
        Timestamp::from_chrono(at.to_utc()).since(now)
    };
    Some(pause.min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_means_later_or_never() {
        let later = |status| match judge(status, None, b"") {
            Answer::Later { blame, .. } => Some(blame),
            _ => None,
        };
        for status in [301, 302, 307, 308, 408, 425, 429, 503] {
            assert_eq!(later(status), Some(Blame::Sink), "{status}");
        }
        for status in [500, 502, 504, 599] {
            assert_eq!(later(status), Some(Blame::Message), "{status}");
        }
        for status in [400, 401, 403, 404, 410, 413, 422] {
            assert!(matches!(judge(status, None, b""), Answer::Refused { .. }), "{status}");
        }
        let long = vec![b'x'; 1_000_000];
        let Answer::Refused { why, .. } = judge(400, None, &long) else { panic!("refused") };
        assert_eq!(why.len(), "it answered 400: ".len() + REPLY_SHOWN);
        let Answer::Refused { why, .. } = judge(400, None, b"a\0b\n") else { panic!("refused") };
        assert_eq!(why, "it answered 400: a b");
    }

    #[test]
    fn a_pause_is_read_as_seconds_or_as_an_instant_and_is_bounded() {
        let now = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("999999999", Some(3_600)),
            ("Sat, 31 Jan 2026 12:00:30 GMT", Some(30)),
            ("Sat, 31 Jan 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(pause_asked(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
