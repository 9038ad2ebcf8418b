//! Owns rows on their way into one statement: a list in JSON, written as it grows, so that no row is held twice.

use serde::Serialize;

/// A list of rows as the argument of a statement.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<u8>);

impl Rows {
    /// Adds a row.
    pub(super) fn push<T: Serialize>(&mut self, row: &T) {
        self.0.push(if self.0.is_empty() { b'[' } else { b',' });
        serde_json::to_writer(&mut self.0, row).expect("our own values are plain JSON");
    }

    /// The list as text, and begins anew; `None` when it is empty.
    pub(super) fn take(&mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push(b']');
        Some(String::from_utf8(std::mem::take(&mut self.0)).expect("JSON is UTF-8"))
    }

    /// Of all these rows; of none it is an empty list.
    pub(super) fn of<T: Serialize>(rows: impl IntoIterator<Item = T>) -> String {
        let mut all = Rows::default();
        for row in rows {
            all.push(&row);
        }
        all.take().unwrap_or_else(|| "[]".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_value_and_begins_anew() {
        let mut rows = Rows::default();
        assert_eq!(rows.take(), None);
        rows.push(&serde_json::json!({"a": "\"x\"\n"}));
        rows.push(&7);
        assert_eq!(rows.take().as_deref(), Some(r#"[{"a":"\"x\"\n"},7]"#));
        assert_eq!(rows.take(), None);
        assert_eq!((Rows::of([1, 2]), Rows::of([0; 0])), ("[1,2]".to_owned(), "[]".to_owned()));
    }
}
