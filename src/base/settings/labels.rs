//! Owns how the labels of a worker are written: `key=value`, with commas between them. It never knows what runs where.

use std::collections::BTreeMap;

/// Labels that one worker may be given.
pub const WORKER_LABELS_MAX: usize = 32;
/// Bytes of a label's key, and of its value.
pub const LABEL_WORD_BYTES_MAX: usize = 100;

/// Whether it can be the key, or the value, of a worker's label: nothing in it ends it in a list of labels.
pub fn is_label_word(text: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    (1..=LABEL_WORD_BYTES_MAX).contains(&text.len()) && text.chars().all(is_good)
}

/// The labels that the values of a setting hold; each value may hold several.
pub(super) fn accept_labels(values: &[String]) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let parts = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        let (key, value) =
            part.split_once('=').filter(|(key, value)| is_label_word(key) && is_label_word(value))?;
        // Two values of one key contradict each other.
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return None;
        }
    }
    (labels.len() <= WORKER_LABELS_MAX).then_some(labels)
}

pub(super) fn show_labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
        accept_labels(&values).map(|labels| show_labels(&labels))
    }

    #[test]
    fn labels_are_read_from_lists_and_from_repeated_values_alike() {
        for values in [&["os=linux,gpu=a100"][..], &["gpu=a100", " os=linux ,"], &["os=linux", "gpu=a100"]] {
            assert_eq!(read(values).as_deref(), Some("gpu=a100,os=linux"), "{values:?}");
        }
        assert_eq!(read(&[]).as_deref(), Some(""));
        assert_eq!(read(&["url=a:b/c@d+e_f-g.h"]).as_deref(), Some("url=a:b/c@d+e_f-g.h"));
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let long = "x".repeat(LABEL_WORD_BYTES_MAX + 1);
        for text in
            ["gpu", "=a", "gpu=", "gpu=a=b", "gp u=a", "größe=1", "gpu=a100,gpu=h100", &format!("k={long}")]
        {
            assert_eq!(read(&[text]), None, "{text}");
        }
        let many = |count: usize| (0..count).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join(",");
        assert!(
            read(&[&many(WORKER_LABELS_MAX)]).is_some() && read(&[&many(WORKER_LABELS_MAX + 1)]).is_none()
        );
        assert!(read(&[&format!("k={}", "x".repeat(LABEL_WORD_BYTES_MAX))]).is_some());
    }
}
