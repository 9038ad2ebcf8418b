//! Owns rows on their way into a statement that is there for many. SQLite takes them one by one, which costs it less than
//! taking a list apart; PostgreSQL takes a list of each column, which costs one way there and back.

use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use super::{Kind, Value, add, unencoded};
use crate::store::fault::Result;

/// Rows of one width, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Rows(Vec<Value>);

impl Rows {
    /// Adds a row.
    pub fn push<const WIDTH: usize>(&mut self, row: [Value; WIDTH]) {
        self.0.extend(row);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Panics when they are not of these kinds.
    pub(super) fn check(&self, kinds: &[Kind], text: &str) {
        assert!(!self.is_empty(), "a statement was given no rows: {text}");
        let is_right = |row: &[Value]| {
            row.len() == kinds.len() && row.iter().zip(kinds).all(|(value, kind)| value.kind() == *kind)
        };
        assert!(
            self.0.chunks(kinds.len()).all(is_right),
            "a statement was given other rows than it declares: {text}"
        );
    }
}

/// Rows for a statement, and the arguments that it takes beside them.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) rows: Rows,
    /// Columns of a row.
    pub(super) width: usize,
    pub(super) beside: Vec<Value>,
}

impl Given {
    /// The rows.
    pub(super) fn each(&self) -> impl Iterator<Item = &[Value]> {
        self.rows.0.chunks(self.width)
    }

    /// A list of each column, and the other arguments behind them.
    pub(super) fn lists(&self) -> Result<PgArguments> {
        let mut arguments = PgArguments::default();
        for at in 0..self.width {
            let column = self.rows.0[at..].iter().step_by(self.width);
            match self.rows.0[at].kind() {
                Kind::Int => arguments.add(column.map(int).collect::<Vec<_>>()),
                Kind::Float => arguments.add(column.map(float).collect::<Vec<_>>()),
                Kind::Text => arguments.add(column.map(text).collect::<Vec<_>>()),
                Kind::Bytes => arguments.add(column.map(bytes).collect::<Vec<_>>()),
            }
            .map_err(|error| unencoded(&error))?;
        }
        add(&mut arguments, &self.beside)?;
        Ok(arguments)
    }
}

fn int(value: &Value) -> Option<i64> {
    if let Value::Int(number) = value { *number } else { None }
}

fn float(value: &Value) -> Option<f64> {
    if let Value::Float(number) = value { *number } else { None }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => text.as_deref(),
        Value::Word(word) => Some(word),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    if let Value::Bytes(bytes) = value { bytes.as_deref() } else { None }
}

impl<const WIDTH: usize> FromIterator<[Value; WIDTH]> for Rows {
    fn from_iter<I: IntoIterator<Item = [Value; WIDTH]>>(rows: I) -> Rows {
        Rows(rows.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    #[test]
    fn rows_are_walked_one_by_one_and_told_column_by_column() {
        let mut rows: Rows = [args!["\"x\"\n", 7], args![None::<String>, -1]].into_iter().collect();
        rows.push([Value::Word("y"), Value::Int(None)]);
        rows.check(&[Kind::Text, Kind::Int], "");
        let given = Given { rows, width: 2, beside: args![5].to_vec() };
        assert_eq!(given.each().nth(1), Some(&args![None::<String>, -1][..]));
        assert_eq!(given.lists().unwrap().len(), 3);
        let columns = |at: usize| given.each().map(move |row| &row[at]);
        assert_eq!(columns(0).map(text).collect::<Vec<_>>(), [Some("\"x\"\n"), None, Some("y")]);
        assert_eq!(columns(1).map(int).collect::<Vec<_>>(), [Some(7), Some(-1), None]);
    }

    #[test]
    #[should_panic(expected = "other rows than it declares")]
    fn rows_of_another_kind_are_refused() {
        [args!["x", 7]].into_iter().collect::<Rows>().check(&[Kind::Int, Kind::Text], "");
    }
}
