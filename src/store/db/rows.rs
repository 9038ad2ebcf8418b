//! Owns rows on their way into a statement that is there for many. SQLite takes them one by one, which costs it less than
//! taking a list apart; PostgreSQL takes them as one list, which costs one way there and back.

use super::{Kind, Value};
use crate::store::fault::{Fault, Result};

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

    /// The rows as one JSON text, a list of lists, and the other arguments behind it.
    pub(super) fn list(&self) -> Result<Vec<Value>> {
        let mut list = Vec::with_capacity(self.rows.0.len() * 16);
        for row in self.each() {
            list.push(if list.is_empty() { b'[' } else { b',' });
            for (at, value) in row.iter().enumerate() {
                list.push(if at == 0 { b'[' } else { b',' });
                let written = match value {
                    Value::Int(number) => serde_json::to_writer(&mut list, number),
                    Value::Float(number) => serde_json::to_writer(&mut list, number),
                    Value::Text(text) => serde_json::to_writer(&mut list, text),
                    Value::Word(word) => serde_json::to_writer(&mut list, word),
                    Value::Bytes(_) => return Err(Fault::bug("a list of rows holds no bytes")),
                };
                written.map_err(|error| Fault::bug(error.to_string()))?;
            }
            list.push(b']');
        }
        list.push(b']');
        let list = String::from_utf8(list).map_err(|error| Fault::bug(error.to_string()))?;
        Ok(std::iter::once(Value::from(list)).chain(self.beside.iter().cloned()).collect())
    }
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
    fn rows_are_one_list_of_lists() {
        let mut rows: Rows = [args!["\"x\"\n", 7], args![None::<String>, -1]].into_iter().collect();
        rows.push(args!["y", None::<i64>]);
        rows.check(&[Kind::Text, Kind::Int], "");
        let given = Given { rows, width: 2, beside: args![5].to_vec() };
        assert_eq!(given.list().unwrap(), args![r#"[["\"x\"\n",7],[null,-1],["y",null]]"#, 5]);
        assert_eq!(given.each().last(), Some(&args!["y", None::<i64>][..]));
    }

    #[test]
    #[should_panic(expected = "other rows than it declares")]
    fn rows_of_another_kind_are_refused() {
        [args!["x", 7]].into_iter().collect::<Rows>().check(&[Kind::Int, Kind::Text], "");
    }
}
