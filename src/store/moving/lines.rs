//! Owns the text of a row: what is sent to PostgreSQL, and what both sides are summed up over. It must be the same for
//! the same row whichever engine gave it.

use sha2::{Digest as _, Sha256};

use super::tables::Table;
use crate::base::random::hex;
use crate::store::db::{Kind, Row};
use crate::store::fault::Result;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Rows as lines of `COPY`: a tab between two columns, `\N` for nothing, a newline behind each row.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) text: Vec<u8>,
    pub(super) row_count: u64,
    /// Texts with a character that PostgreSQL cannot hold.
    pub(super) mended_count: u64,
}

impl Lines {
    /// The rows of a table, in their order.
    pub(super) fn of(table: &Table, rows: &[Row]) -> Result<Lines> {
        let mut lines = Lines::default();
        for row in rows {
            for (at, (_, kind)) in table.columns.iter().enumerate() {
                if at > 0 {
                    lines.text.push(b'\t');
                }
                lines.push(row, at, *kind)?;
            }
            lines.text.push(b'\n');
            lines.row_count += 1;
        }
        Ok(lines)
    }

    fn push(&mut self, row: &Row, at: usize, kind: Kind) -> Result<()> {
        let is_there = match kind {
            Kind::Int => row.get::<Option<i64>>(at)?.map(|number| self.push_plain(&number.to_string())),
            Kind::Float => row.get::<Option<f64>>(at)?.map(|number| self.push_plain(&number.to_string())),
            Kind::Text => row.get::<Option<String>>(at)?.map(|text| self.push_text(&text)),
            Kind::Bytes => row.get::<Option<Vec<u8>>>(at)?.map(|bytes| {
                self.push_plain("\\\\x");
                for byte in bytes {
                    self.text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                }
            }),
        };
        if is_there.is_none() {
            self.push_plain("\\N");
        }
        Ok(())
    }

    fn push_plain(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn push_text(&mut self, text: &str) {
        let mended_before = self.mended_count;
        for byte in text.bytes() {
            match byte {
                b'\\' => self.push_plain("\\\\"),
                b'\t' => self.push_plain("\\t"),
                b'\n' => self.push_plain("\\n"),
                b'\r' => self.push_plain("\\r"),
                // The door refuses it; a file that was written past the door may hold one.
                0 => {
                    self.push_plain("\u{fffd}");
                    self.mended_count = mended_before + 1;
                }
                byte => self.text.push(byte),
            }
        }
    }
}

/// The sum over all rows of a table in the order of its key.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) row_count: u64,
    pub(super) mended_count: u64,
    hash: Sha256,
}

impl Sum {
    pub(super) fn add(&mut self, lines: &Lines) {
        self.row_count += lines.row_count;
        self.mended_count += lines.mended_count;
        self.hash.update(&lines.text);
    }

    /// The SHA-256 of all lines, as hex.
    pub(super) fn digest(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::db::Cell;

    #[test]
    fn a_row_is_a_line_that_can_be_told_from_every_other() {
        let table = super::super::tables::TABLES.iter().find(|table| table.name == "meta").unwrap();
        let line = |value: Cell| {
            let row = Row::Sqlite(vec![Cell::Text("a".to_owned()), value].into());
            let lines = Lines::of(table, &[row]).unwrap();
            (String::from_utf8(lines.text).unwrap(), lines.mended_count)
        };
        let text = |text: &str| line(Cell::Text(text.to_owned()));
        assert_eq!(line(Cell::Null), ("a\t\\N\n".to_owned(), 0));
        assert_eq!(text("\\N"), ("a\t\\\\N\n".to_owned(), 0));
        assert_eq!(text("\t\n\r\\.é"), ("a\t\\t\\n\\r\\\\.é\n".to_owned(), 0));
        assert_eq!(text("\0x\0"), ("a\t\u{fffd}x\u{fffd}\n".to_owned(), 1));
    }
}
