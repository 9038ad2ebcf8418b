//! Owns where a job may run: the labels of workers, the selector in which a job names those that it needs, and which
//! selectors a worker fits. A selector is one text, `gpu=a100,os=linux`, so that the store can sort by it.

use std::collections::BTreeMap;

use super::job::Label;
use super::limits::RUNS_ON_MAX;
use super::rejection::Rejection;
use crate::base::settings::labels::{LABEL_WORD_BYTES_MAX, is_label_word};

/// The label that every worker has: the name of its machine.
const HOST: &str = "host";

/// The labels of a worker: those that it was given, and the name of its machine unless that was given too.
pub fn labels_of_worker(given: &BTreeMap<String, String>, host: &str) -> Vec<Label> {
    let mut labels = given.clone();
    if is_label_word(host) {
        labels.entry(HOST.to_owned()).or_insert_with(|| host.to_owned());
    }
    labels.into_iter().map(|(key, value)| Label { key, value }).collect()
}

/// The labels that a job asks for in the order of its selector, or what is wrong with the field `path`.
pub fn check_runs_on(path: &str, mut labels: Vec<Label>) -> Result<Vec<Label>, Rejection> {
    if labels.len() > RUNS_ON_MAX {
        return Err(Rejection::invalid(path, format!("must hold at most {RUNS_ON_MAX} labels")));
    }
    for (index, label) in labels.iter().enumerate() {
        for (field, word) in [("key", &label.key), ("value", &label.value)] {
            if !is_label_word(word) {
                let message = format!(
                    "must be 1 to {LABEL_WORD_BYTES_MAX} letters, digits and characters of . _ - / : @ +"
                );
                return Err(Rejection::invalid(&format!("{path}.{index}.{field}"), message));
            }
        }
        if labels[..index].iter().any(|earlier| earlier.key == label.key) {
            return Err(Rejection::invalid(&format!("{path}.{index}.key"), "is given twice"));
        }
    }
    labels.sort_by_cached_key(text_of);
    Ok(labels)
}

fn text_of(label: &Label) -> String {
    format!("{}={}", label.key, label.value)
}

/// The selector of checked labels; `None` when any worker will do.
pub fn selector(labels: &[Label]) -> Option<String> {
    (!labels.is_empty()).then(|| labels.iter().map(text_of).collect::<Vec<_>>().join(","))
}

/// The labels of a selector that `selector` made.
pub fn labels_of(selector: &str) -> Option<Vec<Label>> {
    let label = |text: &str| {
        let (key, value) = text.split_once('=')?;
        Some(Label { key: key.to_owned(), value: value.to_owned() })
    };
    selector.split(',').map(label).collect()
}

/// The labels of a worker, as selectors are compared with them.
///
/// No label is the beginning of another, for none holds `=` twice and no key occurs twice. So the texts of all selectors
/// that a worker fits are in the order of the labels in them, and the next one can be told without trying all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerLabels(Vec<String>);

impl WorkerLabels {
    /// Of a worker.
    pub fn of(labels: &[Label]) -> WorkerLabels {
        let mut texts: Vec<_> = labels.iter().map(text_of).collect();
        texts.sort_unstable();
        WorkerLabels(texts)
    }

    /// Whether the worker has every label of the selector.
    pub fn fits(&self, selector: &str) -> bool {
        selector.split(',').all(|label| self.0.binary_search_by(|own| own.as_str().cmp(label)).is_ok())
    }

    /// The first selector that the worker fits, in the order of their texts, from this one on.
    pub fn next_from(&self, selector: &str) -> Option<String> {
        if self.fits(selector) { Some(selector.to_owned()) } else { self.next_behind(selector) }
    }

    /// The first selector that the worker fits, in the order of their texts, behind this one.
    pub fn next_behind(&self, selector: &str) -> Option<String> {
        first_behind(&self.0, "", selector)
    }
}

/// The first text behind `selector` among those that begin with `chosen` and go on with some of the labels `rest`.
fn first_behind(rest: &[String], chosen: &str, selector: &str) -> Option<String> {
    for (at, label) in rest.iter().enumerate() {
        let text = if chosen.is_empty() { label.clone() } else { format!("{chosen},{label}") };
        if text.as_str() > selector {
            return Some(text);
        }
        // All that begin with another text lie on the same side as that text.
        if selector.starts_with(&text)
            && let Some(found) = first_behind(&rest[at + 1..], &text, selector)
        {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Label {
        let (key, value) = text.split_once('=').expect("a label");
        Label { key: key.to_owned(), value: value.to_owned() }
    }

    fn labels(texts: &[&str]) -> Vec<Label> {
        texts.iter().map(|text| label(text)).collect()
    }

    #[test]
    fn a_selector_is_the_same_in_whatever_order_its_labels_are_given() {
        for order in [["os=linux", "gpu=a100"], ["gpu=a100", "os=linux"]] {
            let checked = check_runs_on("runsOn", labels(&order)).expect("good");
            let text = selector(&checked).expect("not empty");
            assert_eq!(text, "gpu=a100,os=linux");
            assert_eq!(labels_of(&text), Some(checked));
        }
        assert_eq!(selector(&check_runs_on("runsOn", Vec::new()).expect("good")), None);
        assert_eq!(labels_of("gpu"), None);
    }

    #[test]
    fn labels_that_no_worker_can_have_are_refused_at_their_place() {
        let path =
            |given: Vec<Label>| check_runs_on("runsOn", given).unwrap_err().path.expect("a path").join(".");
        let one = |key: &str, value: &str| {
            vec![label("a=b"), Label { key: key.to_owned(), value: value.to_owned() }]
        };
        for (key, value, place) in [
            ("", "x", "runsOn.1.key"),
            ("a b", "x", "runsOn.1.key"),
            ("k", "", "runsOn.1.value"),
            ("k", "x,y=z", "runsOn.1.value"),
            ("k", "x=y", "runsOn.1.value"),
            ("a", "c", "runsOn.1.key"),
        ] {
            assert_eq!(path(one(key, value)), place, "{key}={value}");
        }
        let many = |count: usize| (0..count).map(|at| label(&format!("k{at}=v"))).collect::<Vec<_>>();
        assert!(check_runs_on("runsOn", many(RUNS_ON_MAX)).is_ok());
        assert_eq!(path(many(RUNS_ON_MAX + 1)), "runsOn");
    }

    #[test]
    fn a_worker_has_the_name_of_its_machine_unless_it_was_given_another() {
        let of = |given: &[(&str, &str)], host| {
            let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            selector(&labels_of_worker(&given, host)).unwrap_or_default()
        };
        assert_eq!(of(&[], "box.example"), "host=box.example");
        assert_eq!(of(&[("os", "linux")], "box"), "host=box,os=linux");
        assert_eq!(of(&[("host", "b7")], "box"), "host=b7");
        assert_eq!(of(&[], "a host"), "");
    }

    /// All selectors that a worker fits.
    fn all(labels: &[&str]) -> Vec<String> {
        let mut found: Vec<_> = (1_u32..1 << labels.len())
            .map(|bits| {
                let mut chosen: Vec<_> =
                    (0..labels.len()).filter(|at| bits & (1 << at) != 0).map(|at| labels[at]).collect();
                chosen.sort_unstable();
                chosen.join(",")
            })
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn the_next_selector_that_fits_is_found_from_anywhere() {
        // Keys of which one begins with another, and values that sort before the comma and behind it.
        let own = ["a=x", "a-b=x", "ab=+", "b=-z", "host=w7.example", "os=linux"];
        let worker = WorkerLabels::of(&labels(&own));
        let fitting = all(&own);
        assert!(fitting.iter().all(|selector| worker.fits(selector)));
        let others = ["a=w", "a=x,ab=", "a=x-,b", "a=y", "b=-z,os=linux0", "host=w8.example", "zz=1", ""];
        for from in fitting.iter().map(String::as_str).chain(others) {
            let behind = fitting.iter().find(|one| one.as_str() > from).cloned();
            assert_eq!(worker.next_behind(from), behind, "behind {from}");
            let at = fitting.iter().find(|one| one.as_str() >= from).cloned();
            assert_eq!(worker.next_from(from), at, "from {from}");
        }
        for unfit in &others[..7] {
            assert!(!worker.fits(unfit), "{unfit}");
        }
        assert_eq!(WorkerLabels::default().next_behind(""), None);
    }
}
