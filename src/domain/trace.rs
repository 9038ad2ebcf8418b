//! Owns the place of a job in a distributed trace (W3C Trace Context): who asked for it, and the spans that it and its
//! attempts are. The numbers are worked out of what is durable, so that nothing must be remembered to find them again.

use std::fmt;

use super::id::{AttemptId, JobId};

/// The environment variable that carries a `traceparent` into a program.
pub const TRACE_VARIABLE: &str = "TRACEPARENT";

/// A span in a trace, written `00-<trace>-<span>-<flags>` as in the header `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace: u128,
    /// The span in it.
    pub span: u64,
    /// Whether whoever began the trace records it.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`; `None` for anything that the standard calls invalid.
    pub fn parse(text: &str) -> Option<TraceContext> {
        let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lengths = [version.len(), trace.len(), span.len(), flags.len()];
        if lengths != [2, 32, 16, 2] || ![version, trace, span, flags].into_iter().all(is_hex) {
            return None;
        }
        // A later version may append parts; the first one has none.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(TraceContext { trace, span, is_sampled: flags & 1 == 1 })
    }

    /// The span of a job from its making to its end, below `asked` or at the root of a trace of its own. `epoch` names
    /// the store.
    pub fn of_job(epoch: u32, job: JobId, asked: Option<TraceContext>) -> TraceContext {
        let seed = u64::from(epoch) << 32 ^ job.0.unsigned_abs();
        let own = u128::from(mix(seed ^ TRACE_HIGH)) << 64 | u128::from(mix(seed ^ TRACE_LOW));
        TraceContext {
            trace: asked.map_or(own, |asked| asked.trace),
            span: mix(seed ^ JOB_SPAN),
            is_sampled: asked.is_none_or(|asked| asked.is_sampled),
        }
    }

    /// The span of an attempt, below its job's: what the job's program gets as `TRACEPARENT`.
    #[must_use]
    pub fn of_attempt(self, attempt: AttemptId) -> TraceContext {
        TraceContext { span: mix(self.span ^ attempt.0.unsigned_abs() ^ ATTEMPT_SPAN), ..self }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

// They keep the numbers of one seed apart.
const TRACE_HIGH: u64 = 0x7472_6163_6568_6967;
const TRACE_LOW: u64 = 0x7472_6163_656c_6f77;
const JOB_SPAN: u64 = 0x6a6f_6273_7061_6e00;
const ATTEMPT_SPAN: u64 = 0x6174_7465_6d70_7400;

/// Spreads a number over all bits (the finalizer of `SplitMix64`); never zero, which the standard forbids.
fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_reads_back_and_what_the_standard_forbids_is_refused() {
        assert_eq!(TraceContext::parse(GOOD).unwrap().to_string(), GOOD);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later";
        assert!(TraceContext::parse(later).is_some());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_job_is_a_child_of_who_asked_or_a_root_and_always_the_same() {
        let asked = TraceContext::parse(GOOD);
        let job = TraceContext::of_job(7, JobId(1), asked);
        assert_eq!((job.trace, job.is_sampled), (asked.unwrap().trace, true));
        assert_ne!(job.span, asked.unwrap().span);
        let root = TraceContext::of_job(7, JobId(1), None);
        assert_eq!(root, TraceContext::of_job(7, JobId(1), None));
        assert_ne!(root.trace, TraceContext::of_job(8, JobId(1), None).trace);
        assert_ne!(root.trace, TraceContext::of_job(7, JobId(2), None).trace);
        assert_ne!(root.of_attempt(AttemptId(1)).span, root.of_attempt(AttemptId(2)).span);
    }
}
