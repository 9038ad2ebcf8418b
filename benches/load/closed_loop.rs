//! Owns a crowd of clients of which each sends its next request when it has its answer. It must never count what was
//! not answered as wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::task::JoinSet;

use super::http::Http;

/// What the id of a job in an answer begins with.
const JOB: &[u8] = b"\"id\":\"job_";

/// Who asks what.
#[derive(Debug, Clone)]
pub struct Load {
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// The bytes of the one request that all send.
    pub request: Arc<[u8]>,
    /// How many ask at once.
    pub connections: usize,
    /// Jobs that each answer must name.
    pub jobs_each: usize,
}

/// When it is enough.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time.
    Span(Duration),
    /// After so many requests.
    Requests(u64),
    /// When the server breaks off.
    Broken,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers as wanted.
    pub answered: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Of each answer, in microseconds, sorted.
    pub latencies_us: Vec<u32>,
    /// Jobs that were named, by number, in no order.
    pub jobs: Vec<u64>,
}

impl Outcome {
    /// Answers a second.
    pub fn per_second(&self) -> f64 {
        crate::measure::per_second(self.answered, self.elapsed)
    }

    /// Jobs a second.
    pub fn jobs_per_second(&self) -> f64 {
        crate::measure::per_second(self.jobs.len() as u64, self.elapsed)
    }
}

impl Load {
    /// Lets the crowd work.
    ///
    /// # Panics
    /// If an answer is not as wanted, or the server breaks off before it may.
    pub async fn run(&self, until: Until) -> Outcome {
        let mut crowd = JoinSet::new();
        let turns = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        for _ in 0..self.connections {
            crowd.spawn(one(self.clone(), until, begun, Arc::clone(&turns)));
        }
        let mut sum = Outcome::default();
        while let Some(part) = crowd.join_next().await {
            let part = part.expect("no client panics");
            sum.answered += part.answered;
            sum.latencies_us.extend(part.latencies_us);
            sum.jobs.extend(part.jobs);
        }
        sum.elapsed = begun.elapsed();
        sum.latencies_us.sort_unstable();
        sum
    }
}

async fn one(load: Load, until: Until, begun: Instant, turns: Arc<AtomicU64>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut http = Http::open(&load.address).await.expect("the server takes connections");
    loop {
        let sent_at = Instant::now();
        let is_enough = match until {
            Until::Span(span) => sent_at - begun >= span,
            Until::Requests(count) => turns.fetch_add(1, Ordering::Relaxed) >= count,
            Until::Broken => false,
        };
        if is_enough {
            return outcome;
        }
        let body = match http.answer(&load.request).await {
            Ok(body) => body,
            Err(_) if matches!(until, Until::Broken) => return outcome,
            Err(why) => panic!("an answer that was not wanted: {why}"),
        };
        let named_before = outcome.jobs.len();
        if load.jobs_each > 0 {
            outcome.jobs.extend(jobs_in(body));
        }
        let named = outcome.jobs.len() - named_before;
        let is_good = named == load.jobs_each && memmem::find(body, b"\"errors\":").is_none();
        assert!(is_good, "an answer that was not wanted: {}", String::from_utf8_lossy(body));
        outcome.answered += 1;
        let latency = sent_at.elapsed().as_micros();
        outcome.latencies_us.push(u32::try_from(latency).unwrap_or(u32::MAX));
    }
}

/// The numbers of the jobs that an answer names.
pub fn jobs_in(body: &[u8]) -> impl Iterator<Item = u64> {
    memmem::find_iter(body, JOB).map(|at| number(&body[at + JOB.len()..]))
}

fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|sign| sign.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}
