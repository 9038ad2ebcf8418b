//! Owns how a statement runs on a connection of SQLite: its arguments in, its rows out as values of our own. It must
//! never choose the connection, nor the thread.

use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, Statement};
use sqlx::postgres::Postgres;
use sqlx::{Decode, Type};

use super::rows::Given;
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
    let cell = cell(cells, at)?;
    T::of(cell).ok_or_else(|| unreadable::<T>(cell, at))
}

/// The text at a position of a row, if there is one.
pub(super) fn text(cells: &[Cell], at: usize) -> Result<Option<&str>> {
    match cell(cells, at)? {
        Cell::Null => Ok(None),
        Cell::Text(text) => Ok(Some(text)),
        other => Err(unreadable::<&str>(other, at)),
    }
}

fn cell(cells: &[Cell], at: usize) -> Result<&Cell> {
    cells.get(at).ok_or_else(|| Fault::bug(format!("a row has no column {at}")))
}

fn unreadable<T>(cell: &Cell, at: usize) -> Fault {
    let kind = match cell {
        Cell::Null => "null",
        Cell::Int(_) => "an integer",
        Cell::Float(_) => "a double",
        Cell::Text(_) => "a text",
        Cell::Bytes(_) => "bytes",
    };
    Fault::bug(format!("column {at} is {kind}, which cannot be read as {}", std::any::type_name::<T>()))
}

/// Runs a statement and gives all its rows.
pub(super) fn rows(connection: &Connection, text: &str, values: &[Value]) -> Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(text)?;
    bind(&mut statement, values)?;
    let mut answer = Vec::new();
    collect(&mut statement, &mut answer)?;
    Ok(answer)
}

/// Runs a statement that has its arguments and adds what it answers.
fn collect(statement: &mut Statement<'_>, answer: &mut Vec<Row>) -> Result<()> {
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        // Asked of each row: after a migration the first step may have prepared the statement anew.
        let width = row.as_ref().column_count();
        let mut cells = Vec::with_capacity(width);
        for at in 0..width {
            cells.push(Cell::from(row.get_ref(at)?));
        }
        answer.push(Row::Sqlite(cells.into_boxed_slice()));
    }
    Ok(())
}

/// Runs a statement and gives the number of rows it changed.
pub(super) fn changes(connection: &Connection, text: &str, values: &[Value]) -> Result<u64> {
    let mut statement = connection.prepare_cached(text)?;
    bind(&mut statement, values)?;
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(connection.changes())
}

/// Runs a statement for each row; gives the number of rows that all of them changed, and their answers.
pub(super) fn each(connection: &Connection, text: &str, given: &Given) -> Result<(u64, Vec<Row>)> {
    let mut statement = connection.prepare_cached(text)?;
    let places = places(&statement)?;
    let (mut changed, mut answer) = (0, Vec::new());
    for row in given.each() {
        for (at, number) in (1..).zip(&places) {
            let beside = || given.beside.get(number.checked_sub(given.width)?);
            bind_one(&mut statement, at, row.get(*number).or_else(beside))?;
        }
        collect(&mut statement, &mut answer)?;
        changed += connection.changes();
    }
    Ok((changed, answer))
}

fn bind(statement: &mut Statement<'_>, values: &[Value]) -> Result<()> {
    for (at, number) in (1..).zip(places(statement)?) {
        bind_one(statement, at, values.get(number))?;
    }
    Ok(())
}

/// Of each parameter the place of its argument: `$3` is a name to SQLite, which numbers names as they come.
fn places(statement: &Statement<'_>) -> Result<Vec<usize>> {
    let place = |at| statement.parameter_name(at)?.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1);
    let all = (1..=statement.parameter_count()).map(place).collect::<Option<Vec<_>>>();
    all.ok_or_else(undeclared)
}

fn bind_one(statement: &mut Statement<'_>, at: usize, value: Option<&Value>) -> Result<()> {
    match value {
        Some(Value::Int(Some(number))) => statement.raw_bind_parameter(at, number),
        Some(Value::Float(Some(number))) => statement.raw_bind_parameter(at, number),
        Some(Value::Text(Some(text))) => statement.raw_bind_parameter(at, text),
        Some(Value::Word(word)) => statement.raw_bind_parameter(at, word),
        Some(Value::Bytes(Some(bytes))) => statement.raw_bind_parameter(at, bytes),
        Some(_) => statement.raw_bind_parameter(at, Null),
        None => return Err(undeclared()),
    }?;
    Ok(())
}

fn undeclared() -> Fault {
    Fault::bug("a statement has an argument that it does not declare")
}
