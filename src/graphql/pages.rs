//! Owns pages: how many rows may be asked for, and the connections that lists are shown as.

use async_graphql::connection::PageInfo;
use async_graphql::{Object, SimpleObject};

use super::errors::{bad_input, fault};
use super::rows::RowRefs;
use crate::domain::attempt::Attempt;
use crate::domain::incident::Incident;
use crate::domain::limits::PAGE_MAX;
use crate::domain::queue::Queue;
use crate::domain::schedule::{Schedule, Tick};
use crate::domain::sink::DeadLetter;
use crate::domain::task::{Task, TaskRevision};
use crate::domain::token::Token;
use crate::domain::worker::Worker;
use crate::store::Fault;
use crate::store::page::{Page, is_storable};

/// The number of rows asked for, within bounds.
pub fn page_size(first: i32) -> async_graphql::Result<usize> {
    if !(1..=PAGE_MAX).contains(&first) {
        return Err(bad_input(format!("first must lie in 1..={PAGE_MAX}, is {first}")));
    }
    usize::try_from(first).map_err(|_| bad_input("first must be positive"))
}

/// A position that is a number.
pub fn number_position(after: Option<&String>, start: i64) -> async_graphql::Result<i64> {
    let Some(after) = after else { return Ok(start) };
    after.parse().map_err(|_| bad_input("after is not a position that this list gave"))
}

/// A position that is a name.
pub fn name_position(after: Option<&String>) -> async_graphql::Result<&str> {
    match after {
        Some(name) if !is_storable(name) => Err(bad_input("after is not a position that this list gave")),
        after => Ok(after.map_or("", String::as_str)),
    }
}

/// Where a page stands in its list.
pub fn page_info(
    first: Option<&String>,
    last: Option<&String>,
    has_previous: bool,
    has_next: bool,
) -> PageInfo {
    PageInfo {
        has_previous_page: has_previous,
        has_next_page: has_next,
        start_cursor: first.cloned(),
        end_cursor: last.cloned(),
    }
}

/// The plain fields of an edge.
macro_rules! edge_columns {
    ($edge:ident) => {
        impl $crate::graphql::rows::Row for $edge {
            fn column(field: &str) -> Option<$crate::graphql::rows::Column<$edge>> {
                match field {
                    "cursor" => Some(|edge, json| $crate::domain::encode::text(&edge.cursor, json)),
                    _ => None,
                }
            }
        }
    };
}
pub(super) use edge_columns;

macro_rules! connections {
    ($($(#[$doc:meta])* $connection:ident, $(#[$edge_doc:meta])* $edge:ident: $list:ident<$node:ty>;)*) => {$(
        $(#[$edge_doc])*
        #[derive(Debug, SimpleObject)]
        pub struct $edge {
            /// The thing itself.
            pub node: $node,
            /// Its position: give it as `after` to go on behind it.
            pub cursor: String,
        }

        edge_columns!($edge);

        $(#[$doc])*
        #[derive(Debug)]
        pub struct $connection {
            edges: Vec<$edge>,
            has_previous: bool,
            has_next: bool,
        }

        impl $connection {
            /// A connection of a page that begins behind `after`.
            pub fn of(page: Result<Page<$node>, Fault>, after: Option<&String>) -> async_graphql::Result<Self> {
                let Page { rows, has_more } = page.map_err(fault)?;
                let edges = rows.into_iter().map(|(cursor, node)| $edge { node, cursor }).collect();
                Ok(Self { edges, has_previous: after.is_some(), has_next: has_more })
            }
        }

        $(#[$doc])*
        #[Object]
        impl $connection {
            /// The rows with their positions.
            async fn edges(&self) -> RowRefs<'_, $edge> {
                self.edges.iter().collect()
            }

            /// The rows alone.
            async fn nodes(&self) -> $list<'_, $node> {
                self.edges.iter().map(|edge| &edge.node).collect()
            }

            /// Where this page stands in the list.
            async fn page_info(&self) -> PageInfo {
                let cursor = |edge: Option<&$edge>| edge.map(|edge| edge.cursor.clone());
                let (first, last) = (cursor(self.edges.first()), cursor(self.edges.last()));
                page_info(first.as_ref(), last.as_ref(), self.has_previous, self.has_next)
            }
        }
    )*};
}

/// A list that is resolved as ever.
type Refs<'a, T> = Vec<&'a T>;

connections! {
    /// A page of a list of attempts.
    AttemptConnection,
    /// An attempt and its position in the list.
    AttemptEdge: RowRefs<Attempt>;
    /// A page of a list of tasks.
    TaskConnection,
    /// A task and its position in the list.
    TaskEdge: Refs<Task>;
    /// A page of the revisions of a task.
    TaskRevisionConnection,
    /// A revision and its position in the list.
    TaskRevisionEdge: Refs<TaskRevision>;
    /// A page of a list of schedules.
    ScheduleConnection,
    /// A schedule and its position in the list.
    ScheduleEdge: Refs<Schedule>;
    /// A page of the ledger of a schedule.
    TickConnection,
    /// A tick and its position in the ledger.
    TickEdge: Refs<Tick>;
    /// A page of a list of queues.
    QueueConnection,
    /// A queue and its position in the list.
    QueueEdge: Refs<Queue>;
    /// A page of a list of workers.
    WorkerConnection,
    /// A worker and its position in the list.
    WorkerEdge: Refs<Worker>;
    /// A page of a list of incidents.
    IncidentConnection,
    /// An incident and its position in the list.
    IncidentEdge: Refs<Incident>;
    /// A page of a list of tokens.
    TokenConnection,
    /// A token and its position in the list.
    TokenEdge: Refs<Token>;
    /// A page of what a sink would not take.
    DeadLetterConnection,
    /// A dead letter and its position in the list.
    DeadLetterEdge: Refs<DeadLetter>;
}
