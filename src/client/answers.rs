//! Owns the shapes of what the daemon answers, as far as the documents under `queries/` ask for it.
//! Enum values stay text: a newer daemon may know more of them than we do.

use serde::Deserialize;
use serde_json::Value;

mod definitions;
mod incidents;
mod jobs;
mod looking;
mod operation;
mod sinks;
mod tokens;

pub use definitions::*;
pub use incidents::*;
pub use jobs::*;
pub use looking::*;
pub use operation::*;
pub use sinks::*;
pub use tokens::*;

/// What was asked for, beside the whole `data` of the answer.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// The GraphQL data as it came.
    pub data: Value,
    /// The part that was asked for.
    pub value: T,
}

/// What became of a mutation.
#[derive(Debug, Clone)]
pub enum Outcome<T> {
    /// It was done and is durable.
    Done(T),
    /// It, or a part of it, was refused for reasons that the caller can fix.
    Refused {
        /// Never empty.
        errors: Vec<UserError>,
        /// What was done all the same, where the answer tells it.
        done: Option<T>,
    },
}

/// An expected refusal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserError {
    /// `NOT_FOUND`, `INVALID`, ...
    pub code: String,
    /// For people.
    pub message: String,
    /// Steps into the input.
    pub path: Option<Vec<String>>,
}

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
        }
    )*};
}
use answers;

answers! {
    /// Anything of which only the name is asked.
    Named {
        /// The name.
        name: String,
    }
    /// Anything of which only the id is asked.
    Identified {
        /// The global id.
        id: String,
    }
}

/// One page of a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The rows.
    pub nodes: Vec<T>,
    /// What comes after.
    #[serde(default)]
    pub page_info: PageInfo,
}

/// What comes after a page.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageInfo {
    /// Whether there is more.
    pub has_next_page: bool,
    /// Where it begins.
    #[serde(default)]
    pub end_cursor: Option<String>,
}
