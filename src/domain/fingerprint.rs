//! Owns the fingerprint: the name of a kind of failure. What a person would call the same fault has the same one, on
//! every machine and in every version that keeps the seed below.

use super::attempt::AttemptOutcome;
use super::error_shape::shape;
use super::id::TaskId;

/// Changes with the rules, so that old fingerprints are never mistaken for new ones.
const SEED: &str = "1";

/// Whose failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// Jobs of a task.
    Task(TaskId),
    /// Ad hoc jobs of a program.
    Command(&'a str),
    /// A part of the daemon.
    Subsystem(&'a str),
}

/// What tells one kind of failure from another.
#[derive(Debug, Clone, Copy)]
pub struct Traits<'a> {
    /// Whose it is.
    pub subject: Subject<'a>,
    /// How the attempt ended; `None` for a part of the daemon.
    pub outcome: Option<AttemptOutcome>,
    /// The exit code, when it exited.
    pub exit_code: Option<i32>,
    /// The signal, when one ended it.
    pub signal: Option<&'a str>,
    /// The error line as it was written.
    pub line: &'a str,
}

impl Traits<'_> {
    /// The fingerprint: 32 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let subject = match self.subject {
            Subject::Task(id) => id.to_string(),
            Subject::Command(program) => format!("command:{program}"),
            Subject::Subsystem(name) => format!("subsystem:{name}"),
        };
        let outcome = self.outcome.map_or("", AttemptOutcome::word);
        let code = self.exit_code.map(|code| code.to_string()).unwrap_or_default();
        let parts = [SEED, &subject, outcome, &code, self.signal.unwrap_or_default(), &shape(self.line)];
        format!("{:032x}", hash(&parts))
    }
}

/// FNV-1a over 128 bits: stable, and nothing that anybody gains by a collision.
fn hash(parts: &[&str]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for part in parts {
        // A byte that no text holds stands behind each part.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

#[cfg(test)]
mod tests;
