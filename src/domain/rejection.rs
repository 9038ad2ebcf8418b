//! Owns refusals: what the caller can fix, with a code and the path of the field.

use async_graphql::{Enum, SimpleObject};

/// Why a mutation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum)]
pub enum UserErrorCode {
    /// The thing named does not exist.
    NotFound,
    /// A thing of this name exists already.
    AlreadyExists,
    /// A value is not acceptable.
    Invalid,
    /// The thing is in a state that forbids this.
    Conflict,
    /// The store holds as many waiting jobs as it may.
    QueueFull,
    /// The idempotency key was used before with another request.
    IdempotencyMismatch,
    /// Another job that is not final has the unique key.
    UniqueKeyTaken,
    /// The job is final, so it cannot be cancelled.
    NotCancellable,
    /// The job is not final, so it cannot be retried.
    NotRetryable,
    /// The token lacks a grant; the message names it.
    Forbidden,
    /// The task was changed since the expected revision.
    StaleRevision,
    /// More jobs match than the caller allowed; nothing was changed.
    TooManyMatches,
}

/// An expected refusal.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(name = "UserError")]
pub struct Rejection {
    /// What kind of refusal, for programs.
    pub code: UserErrorCode,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// The field at fault, as a path into `input`.
    pub path: Option<Vec<String>>,
}

impl Rejection {
    /// A refusal that concerns no single field.
    pub fn new(code: UserErrorCode, message: impl Into<String>) -> Rejection {
        Rejection { code, message: message.into(), path: None }
    }

    /// A refusal of the field at `path` (dots separate the steps).
    pub fn at(code: UserErrorCode, path: &str, message: impl Into<String>) -> Rejection {
        Rejection { code, message: message.into(), path: Some(path.split('.').map(str::to_owned).collect()) }
    }

    /// The commonest one: `INVALID` at `path`.
    pub fn invalid(path: &str, message: impl Into<String>) -> Rejection {
        Rejection::at(UserErrorCode::Invalid, path, message)
    }
}

/// `text` without NUL and within `max` bytes, else a refusal of `path`.
pub fn check_text(path: &str, text: &str, max: usize) -> Result<(), Rejection> {
    if text.contains('\0') {
        return Err(Rejection::invalid(path, "must not contain the character U+0000"));
    }
    if text.len() > max {
        return Err(Rejection::invalid(path, format!("must be at most {max} bytes, has {}", text.len())));
    }
    Ok(())
}

/// A name: letters, digits and `. _ - : /`, beginning with a letter or digit.
pub fn check_name(path: &str, name: &str) -> Result<(), Rejection> {
    check_text(path, name, super::limits::NAME_BYTES_MAX)?;
    let is_good = name.starts_with(|first: char| first.is_alphanumeric())
        && name.chars().all(|c| c.is_alphanumeric() || "._-:/".contains(c));
    if is_good {
        return Ok(());
    }
    Err(Rejection::invalid(
        path,
        "must begin with a letter or digit and hold only letters, digits and the characters . _ - : /",
    ))
}
