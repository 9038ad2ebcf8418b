//! Owns what can go wrong in the store, told apart by what to do about it.

use thiserror::Error;

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A constraint or another daemon was in the way: all was undone, the neighbours are good.
    Constraint,
    /// No room on the disk.
    Full,
    /// The disk or the connection failed.
    Io,
    /// The file may be read only.
    ReadOnly,
    /// Another process holds the store.
    Locked,
    /// The file is no database of ours, or is damaged.
    Damaged,
    /// The file that we have open is no longer the one with its name.
    Replaced,
    /// The writer has as much waiting as it may, or every connection for reading is taken for too long.
    Overloaded,
    /// The daemon is stopping.
    Stopping,
    /// Our own mistake.
    Bug,
}

impl FaultKind {
    /// The word in the daemon's numbers.
    pub fn word(self) -> &'static str {
        match self {
            FaultKind::Constraint => "CONSTRAINT",
            FaultKind::Full => "FULL",
            FaultKind::Io => "IO",
            FaultKind::ReadOnly => "READ_ONLY",
            FaultKind::Locked => "LOCKED",
            FaultKind::Damaged => "DAMAGED",
            FaultKind::Replaced => "REPLACED",
            FaultKind::Overloaded => "OVERLOADED",
            FaultKind::Stopping => "STOPPING",
            FaultKind::Bug => "BUG",
        }
    }
}

/// Every kind, for numbers that begin at zero.
pub(super) const FAULT_KINDS: [FaultKind; 10] = [
    FaultKind::Constraint,
    FaultKind::Full,
    FaultKind::Io,
    FaultKind::ReadOnly,
    FaultKind::Locked,
    FaultKind::Damaged,
    FaultKind::Replaced,
    FaultKind::Overloaded,
    FaultKind::Stopping,
    FaultKind::Bug,
];

/// Trouble in the store: what failed, in words for the log.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// What failed and what to try.
    pub message: String,
    /// Whether nothing was changed, or nobody can say.
    pub certainty: Certainty,
}

/// What is known of a change that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It was undone, or never begun.
    Unchanged,
    /// It may have been made: asking again is safe with the same idempotency key only.
    Unknown,
}

/// An answer of the store.
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// Trouble of a kind.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into(), certainty: Certainty::Unchanged }
    }

    /// The same trouble, met where nobody can say whether the change was made.
    #[must_use]
    pub fn unsure(self) -> Fault {
        Fault { certainty: Certainty::Unknown, ..self }
    }

    /// Our own mistake.
    pub fn bug(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Bug, message)
    }

    /// A row that we wrote and cannot read: trouble with this row, not with the whole store.
    pub fn unreadable(what: &str, id: impl std::fmt::Display) -> Fault {
        Fault::new(FaultKind::Bug, format!("{what} of row {id} cannot be read"))
    }

    /// Whether the changes of a failed batch may be tried one by one: not when its end is unknown, nor when each of
    /// them would meet the same trouble.
    pub fn is_replayable(&self) -> bool {
        self.certainty == Certainty::Unchanged && matches!(self.kind, FaultKind::Constraint | FaultKind::Bug)
    }

    /// Whether the whole store is in trouble, so that the next change would meet it too.
    pub fn is_of_the_store(&self) -> bool {
        use FaultKind::{Damaged, Full, Io, Locked, ReadOnly, Replaced};
        matches!(self.kind, Full | Io | ReadOnly | Locked | Damaged | Replaced)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Fault {
        let kind = match &error {
            sqlx::Error::Database(inner) => postgres_kind(inner.code().as_deref().unwrap_or("")),
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) => FaultKind::Io,
            sqlx::Error::PoolTimedOut => FaultKind::Overloaded,
            sqlx::Error::PoolClosed => FaultKind::Stopping,
            _ => FaultKind::Bug,
        };
        Fault::new(kind, error.to_string())
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        let Some(inner) = error.sqlite_error() else { return Fault::bug(error.to_string()) };
        let code = inner.extended_code;
        Fault::new(sqlite_kind(code), format!("the database says: {error} (code {code})"))
    }
}

/// PostgreSQL gives a SQLSTATE of five characters.
fn postgres_kind(code: &str) -> FaultKind {
    match code.get(..2).unwrap_or_default() {
        // A deadlock was undone whole: tried one by one, the changes find their way.
        "23" | "40" => FaultKind::Constraint,
        // Too many connections are no full disk.
        "53" if code == "53300" => FaultKind::Io,
        "53" => FaultKind::Full,
        "XX" if code != "XX000" => FaultKind::Damaged,
        "25" if code == "25006" => FaultKind::ReadOnly,
        // Its disk, and a door that does not let us in now: a failover may have begun. What waits, waits on.
        "08" | "28" | "3D" | "57" | "58" => FaultKind::Io,
        "25" if code == "25P03" => FaultKind::Io,
        "55" => FaultKind::Locked,
        _ => FaultKind::Bug,
    }
}

/// SQLite gives its extended result code, whose last byte says what went wrong.
fn sqlite_kind(code: i32) -> FaultKind {
    match code & 0xff {
        19 => FaultKind::Constraint,
        13 => FaultKind::Full,
        8 => FaultKind::ReadOnly,
        5 | 6 => FaultKind::Locked,
        11 | 26 => FaultKind::Damaged,
        7 | 9 | 10 | 14 => FaultKind::Io,
        _ => FaultKind::Bug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_engines_are_told_apart() {
        for (code, kind) in [
            (1555, FaultKind::Constraint),
            (2067, FaultKind::Constraint),
            (13, FaultKind::Full),
            (5, FaultKind::Locked),
            (26, FaultKind::Damaged),
            (4874, FaultKind::Io),
            (8, FaultKind::ReadOnly),
            (1032, FaultKind::ReadOnly),
            (14, FaultKind::Io),
            (267, FaultKind::Damaged),
            (1, FaultKind::Bug),
        ] {
            assert_eq!(sqlite_kind(code), kind, "{code}");
        }
        for (code, kind) in [
            ("25006", FaultKind::ReadOnly),
            ("23505", FaultKind::Constraint),
            ("40P01", FaultKind::Constraint),
            ("53100", FaultKind::Full),
            ("53300", FaultKind::Io),
            ("08006", FaultKind::Io),
            ("58030", FaultKind::Io),
            ("28P01", FaultKind::Io),
            ("25P03", FaultKind::Io),
            ("42601", FaultKind::Bug),
            ("", FaultKind::Bug),
        ] {
            assert_eq!(postgres_kind(code), kind, "{code}");
        }
    }
}
