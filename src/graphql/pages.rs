//! Owns pages: how many rows may be asked for, and connections made of the store's pages.

use async_graphql::connection::{Connection, Edge, EmptyFields};
use async_graphql::{ObjectType, OutputType};

use super::errors::{bad_input, fault};
use crate::domain::limits::PAGE_MAX;
use crate::store::Fault;
use crate::store::page::Page;

/// The number of rows asked for, within bounds.
pub fn page_size(first: i32) -> async_graphql::Result<usize> {
    if !(1..=PAGE_MAX).contains(&first) {
        return Err(bad_input(format!("first must lie in 1..={PAGE_MAX}, is {first}")));
    }
    usize::try_from(first).map_err(|_| bad_input("first must be positive"))
}

/// A connection of a page.
pub fn connection<T: OutputType>(
    page: Result<Page<T>, Fault>,
    after: Option<&String>,
) -> async_graphql::Result<Connection<String, T>> {
    connection_with(page, after, EmptyFields)
}

/// A connection of a page, with more fields.
pub fn connection_with<T: OutputType, F: ObjectType>(
    page: Result<Page<T>, Fault>,
    after: Option<&String>,
    fields: F,
) -> async_graphql::Result<Connection<String, T, F>> {
    let page = page.map_err(fault)?;
    let mut connection = Connection::with_additional_fields(after.is_some(), page.has_more, fields);
    connection.edges.extend(page.rows.into_iter().map(|(cursor, node)| Edge::new(cursor, node)));
    Ok(connection)
}

/// A position that is a number.
pub fn number_position(after: Option<&String>, start: i64) -> async_graphql::Result<i64> {
    let Some(after) = after else { return Ok(start) };
    after.parse().map_err(|_| bad_input("after is not a position that this list gave"))
}
