//! Owns what all lists share: keyset positions, and lists as one JSON argument.

use super::db::Row;
use super::fault::{Fault, Result};
use crate::domain::job::Label;

/// A page of some list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows, each with its position.
    pub rows: Vec<(String, T)>,
    /// Whether the list goes on.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Cuts a list that was read with one row more than wanted.
    pub fn cut(mut rows: Vec<(String, T)>, limit: usize) -> Page<T> {
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Page { rows, has_more }
    }
}

/// `limit` and one more, to see whether the list goes on.
pub fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
}

/// The row of a statement that always gives one.
pub fn one(row: Option<Row>) -> Result<Row> {
    row.ok_or_else(|| Fault::bug("a statement that always gives a row gave none"))
}

/// A list of texts as one argument; null means no condition. A text with U+0000 equals nothing in the store.
pub fn words<T>(list: Option<&[T]>, word: impl Fn(&T) -> String) -> Option<String> {
    let words = list?.iter().map(word).filter(|word| is_storable(word)).map(serde_json::Value::String);
    Some(serde_json::Value::Array(words.collect()).to_string())
}

/// Whether a text can stand in the store: PostgreSQL refuses U+0000, and with it the whole statement.
pub fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// A list of numbers as one argument; null means no condition.
pub fn numbers<T>(list: Option<&[T]>, number: impl Fn(&T) -> i64) -> Option<String> {
    list.map(|list| serde_json::Value::from(list.iter().map(number).collect::<Vec<_>>()).to_string())
}

/// The condition that the job `$job` has all labels of the argument `$wanted`, which `labels` makes.
macro_rules! has_labels {
    ($job:literal, $wanted:literal) => {
        concat!(
            "(",
            $wanted,
            " IS NULL OR NOT EXISTS (
              SELECT 1 FROM jsonb_each(",
            $wanted,
            ") AS wanted
              WHERE NOT EXISTS (
                  SELECT 1 FROM job_labels
                  WHERE job_labels.job_id = ",
            $job,
            "
                    AND job_labels.label_key = wanted.value ->> 'key'
                    AND job_labels.label_value = wanted.value ->> 'value')))"
        )
    };
}
pub(super) use has_labels;

/// Labels as one argument; null means no condition.
pub fn labels(list: Option<&[Label]>) -> Option<String> {
    let list: Vec<_> = list?.iter().map(storable_label).collect();
    Some(serde_json::to_string(&list).expect("labels are plain text"))
}

/// A label with U+0000 is asked for as the empty key, which no job has.
pub(super) fn storable_label(label: &Label) -> Label {
    if is_storable(&label.key) && is_storable(&label.value) {
        return label.clone();
    }
    Label { key: String::new(), value: String::new() }
}

/// A pattern for `LIKE .. ESCAPE '\'` that finds `text` anywhere, in lower case.
/// A text that cannot stand in the store gives the empty pattern, which fits nothing that is searched.
pub fn contains(text: &str) -> String {
    if !is_storable(text) {
        return String::new();
    }
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.to_ascii_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
