//! Owns what can go wrong in the store, told apart by what to do about it.

use thiserror::Error;

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A constraint or another daemon was in the way: all was undone, the neighbours are good.
    Constraint,
    /// No room on the disk.
    Full,
    /// The disk or the connection failed; whether a commit happened is unknown.
    Io,
    /// Another process holds the store.
    Locked,
    /// The file is no database of ours, or is damaged.
    Damaged,
    /// The writer has as much waiting as it may, or every connection for reading is taken for too long.
    Overloaded,
    /// The daemon is stopping.
    Stopping,
    /// Our own mistake.
    Bug,
}

/// Trouble in the store: what failed, in words for the log.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// What failed and what to try.
    pub message: String,
}

/// An answer of the store.
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// Trouble of a kind.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into() }
    }

    /// Our own mistake.
    pub fn bug(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Bug, message)
    }

    /// A row that we wrote and cannot read.
    pub fn unreadable(what: &str, id: impl std::fmt::Display) -> Fault {
        Fault::new(FaultKind::Damaged, format!("{what} of row {id} cannot be read"))
    }

    /// Whether the changes of a failed batch may be tried one by one: not when its end is unknown.
    pub fn is_replayable(&self) -> bool {
        matches!(self.kind, FaultKind::Constraint | FaultKind::Bug | FaultKind::Damaged)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Fault {
        let kind = match &error {
            sqlx::Error::Database(inner) => database_kind(inner.code().as_deref().unwrap_or("")),
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) => FaultKind::Io,
            sqlx::Error::PoolTimedOut => FaultKind::Overloaded,
            sqlx::Error::PoolClosed => FaultKind::Stopping,
            _ => FaultKind::Bug,
        };
        Fault::new(kind, error.to_string())
    }
}

/// SQLite gives its extended result code in decimal, PostgreSQL a SQLSTATE of five characters.
fn database_kind(code: &str) -> FaultKind {
    if code.len() == 5 && !code.starts_with('0') || code.len() == 5 && code.starts_with("08") {
        return match &code[..2] {
            // A deadlock was undone whole: tried one by one, the changes find their way.
            "23" | "40" => FaultKind::Constraint,
            "53" => FaultKind::Full,
            "08" | "57" => FaultKind::Io,
            "55" => FaultKind::Locked,
            _ => FaultKind::Bug,
        };
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(19) => FaultKind::Constraint,
        Ok(13) => FaultKind::Full,
        Ok(5 | 6) => FaultKind::Locked,
        Ok(11 | 26) => FaultKind::Damaged,
        Ok(7..=10 | 14) => FaultKind::Io,
        _ => FaultKind::Bug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_engines_are_told_apart() {
        for (code, kind) in [
            ("1555", FaultKind::Constraint),
            ("2067", FaultKind::Constraint),
            ("13", FaultKind::Full),
            ("5", FaultKind::Locked),
            ("26", FaultKind::Damaged),
            ("4874", FaultKind::Io),
            ("23505", FaultKind::Constraint),
            ("40P01", FaultKind::Constraint),
            ("53100", FaultKind::Full),
            ("08006", FaultKind::Io),
            ("42601", FaultKind::Bug),
        ] {
            assert_eq!(database_kind(code), kind, "{code}");
        }
    }
}
