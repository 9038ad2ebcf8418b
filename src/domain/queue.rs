//! Owns the queue: a named lane with a limit and a pause switch.

use async_graphql::SimpleObject;

use super::id::QueueId;
use crate::base::clock::Timestamp;

/// The queue that always exists.
pub const DEFAULT_QUEUE: &str = "default";

/// A named lane with a limit and a pause switch.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Queue {
    /// Its row.
    #[graphql(skip)]
    pub id: QueueId,
    /// Its name, unique.
    pub name: String,
    /// Since when it starts nothing.
    #[graphql(skip)]
    pub paused_at: Option<Timestamp>,
    /// Why it is paused.
    pub pause_reason: Option<String>,
    /// Jobs that may run at once; null means no limit of its own.
    pub concurrency_limit: Option<i32>,
}
