//! Owns how a statement runs on a connection of SQLite: its arguments in, its rows out as values of our own. It must
//! never choose the connection, nor the thread.

use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, Statement};
use sqlx::postgres::Postgres;
use sqlx::{Decode, Type};

use super::{Row, Value};
use crate::store::fault::{Fault, Result};

/// One value of an answer of SQLite.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A 64-bit integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes, also a text that is no UTF-8: the row is then unreadable, its neighbours are not.
    Bytes(Vec<u8>),
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Cell {
        match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Int(number),
            ValueRef::Real(number) => Cell::Float(number),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Cell::Text(text.to_owned()),
                Err(_) => Cell::Bytes(bytes.to_vec()),
            },
            ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        }
    }
}

/// What a column can be read as, on both engines.
pub trait Column: for<'r> Decode<'r, Postgres> + Type<Postgres> {
    /// The value of a cell, when it is of this kind.
    fn of(cell: &Cell) -> Option<Self>;
}

impl Column for i64 {
    fn of(cell: &Cell) -> Option<Self> {
        if let Cell::Int(number) = cell { Some(*number) } else { None }
    }
}

impl Column for f64 {
    fn of(cell: &Cell) -> Option<Self> {
        if let Cell::Float(number) = cell { Some(*number) } else { None }
    }
}

impl Column for bool {
    fn of(cell: &Cell) -> Option<Self> {
        // SQLite has no booleans: a comparison gives 0 or 1.
        if let Cell::Int(number) = cell { Some(*number != 0) } else { None }
    }
}

impl Column for String {
    fn of(cell: &Cell) -> Option<Self> {
        if let Cell::Text(text) = cell { Some(text.clone()) } else { None }
    }
}

impl Column for Vec<u8> {
    fn of(cell: &Cell) -> Option<Self> {
        if let Cell::Bytes(bytes) = cell { Some(bytes.clone()) } else { None }
    }
}

impl<T: Column> Column for Option<T> {
    fn of(cell: &Cell) -> Option<Self> {
        if *cell == Cell::Null { Some(None) } else { T::of(cell).map(Some) }
    }
}

/// The value at a position of a row.
pub(super) fn read<T: Column>(cells: &[Cell], at: usize) -> Result<T> {
    let cell = cells.get(at).ok_or_else(|| Fault::bug(format!("a row has no column {at}")))?;
    T::of(cell).ok_or_else(|| {
        let kind = match cell {
            Cell::Null => "null",
            Cell::Int(_) => "an integer",
            Cell::Float(_) => "a double",
            Cell::Text(_) => "a text",
            Cell::Bytes(_) => "bytes",
        };
        Fault::bug(format!("column {at} is {kind}, which cannot be read as {}", std::any::type_name::<T>()))
    })
}

/// Runs a statement and gives all its rows.
pub(super) fn rows(connection: &Connection, text: &str, values: &[Value]) -> Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(text)?;
    bind(&mut statement, values)?;
    let mut answer = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        // Asked of each row: after a migration the first step may have prepared the statement anew.
        let width = row.as_ref().column_count();
        let cells: std::result::Result<Box<[Cell]>, rusqlite::Error> =
            (0..width).map(|at| row.get_ref(at).map(Cell::from)).collect();
        answer.push(Row::Sqlite(cells?));
    }
    Ok(answer)
}

/// Runs a statement and gives the number of rows it changed.
pub(super) fn changes(connection: &Connection, text: &str, values: &[Value]) -> Result<u64> {
    let mut statement = connection.prepare_cached(text)?;
    bind(&mut statement, values)?;
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(connection.changes())
}

fn bind(statement: &mut Statement<'_>, values: &[Value]) -> Result<()> {
    for at in 1..=statement.parameter_count() {
        // `$3` is a name to SQLite, which numbers names as they come.
        let number =
            statement.parameter_name(at).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        match value {
            Some(Value::Int(Some(number))) => statement.raw_bind_parameter(at, number),
            Some(Value::Float(Some(number))) => statement.raw_bind_parameter(at, number),
            Some(Value::Text(Some(text))) => statement.raw_bind_parameter(at, text),
            Some(Value::Bytes(Some(bytes))) => statement.raw_bind_parameter(at, bytes),
            Some(_) => statement.raw_bind_parameter(at, Null),
            None => return Err(Fault::bug("a statement has an argument that it does not declare")),
        }?;
    }
    Ok(())
}
