//! Owns the memory of documents that were judged good, so that the next request with the same text is neither parsed nor
//! judged again. It is bounded in entries and bytes and must never keep a failure, a value of a variable, or a right:
//! tokens, grants and costs are looked at anew for every request.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::document::Checked;
use super::limits::{KNOWN_BYTES_MAX, KNOWN_MAX, KNOWN_TEXT_BYTES_MAX, ONCE_MAX, PARSED_BYTES_PER_BYTE};

/// The documents of one door.
#[derive(Debug, Default)]
pub struct Known {
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct State {
    /// By the whole text, so that no two documents can be taken for each other.
    entries: HashMap<String, Entry>,
    bytes: usize,
    /// Texts that came once, by a keyed hash: a text with literals written into it never comes again and takes nobody's
    /// place.
    once: HashSet<u64>,
    /// Counts looks, so that the entry that was used least lately is known.
    looks: u64,
}

#[derive(Debug)]
struct Entry {
    /// One for each operation of the document that was asked for.
    forms: Vec<Form>,
    used_at_look: u64,
}

#[derive(Debug)]
struct Form {
    operation_name: Option<String>,
    checked: Arc<Checked>,
    bytes: usize,
}

impl Known {
    /// What is known of this text for this operation.
    pub fn find(&self, text: &str, operation_name: Option<&str>) -> Option<Arc<Checked>> {
        let mut state = self.state();
        state.looks += 1;
        let looks = state.looks;
        let entry = state.entries.get_mut(text)?;
        let form = entry.forms.iter().find(|form| form.operation_name.as_deref() == operation_name)?;
        entry.used_at_look = looks;
        Some(Arc::clone(&form.checked))
    }

    /// Notes a document that was judged good; it is kept when it comes the second time.
    pub fn note(&self, text: &str, operation_name: Option<&str>, checked: &Arc<Checked>) {
        if text.len() > KNOWN_TEXT_BYTES_MAX {
            return;
        }
        let hash = self.hasher.hash_one((text, operation_name));
        let mut state = self.state();
        if !state.once.remove(&hash) {
            if state.once.len() >= ONCE_MAX {
                state.once.clear();
            }
            state.once.insert(hash);
            return;
        }
        state.keep(text, operation_name, checked);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one parsed form of a text takes, by an estimate on the safe side: a short one may become long when its fragments
/// are written out.
fn size(text: &str, checked: &Checked) -> usize {
    let written_out = usize::try_from(checked.bytes).unwrap_or(usize::MAX);
    (text.len() * PARSED_BYTES_PER_BYTE).max(written_out)
}

impl State {
    fn keep(&mut self, text: &str, operation_name: Option<&str>, checked: &Arc<Checked>) {
        let looks = self.looks;
        let entry = self
            .entries
            .entry(text.to_owned())
            .or_insert_with(|| Entry { forms: Vec::new(), used_at_look: looks });
        // Two requests may have come at the same time.
        if entry.forms.iter().any(|form| form.operation_name.as_deref() == operation_name) {
            return;
        }
        let bytes = size(text, checked);
        let operation_name = operation_name.map(str::to_owned);
        entry.forms.push(Form { operation_name, checked: Arc::clone(checked), bytes });
        entry.used_at_look = looks;
        self.bytes += bytes;
        while self.entries.len() > KNOWN_MAX || self.bytes > KNOWN_BYTES_MAX {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used_at_look);
        let Some(text) = oldest.map(|(text, _)| text.clone()) else { return };
        if let Some(entry) = self.entries.remove(&text) {
            self.bytes -= entry.forms.iter().map(|form| form.bytes).sum::<usize>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::check;
    use super::*;

    fn note(known: &Known, text: &str) {
        known.note(text, None, &Arc::new(check(text, None).expect("the test's document is good")));
    }

    fn padded(name: usize, bytes: usize) -> String {
        format!("{{ a{name} }}{}", " ".repeat(bytes))
    }

    #[test]
    fn a_document_is_kept_when_it_comes_the_second_time() {
        let known = Known::default();
        note(&known, "{ a }");
        assert!(known.find("{ a }", None).is_none());
        note(&known, "{ a }");
        assert_eq!(known.find("{ a }", None).expect("it came twice").root_fields, ["a"]);
        assert!(known.find("{ a  }", None).is_none());
        assert!(known.find("{ a }", Some("A")).is_none());
    }

    #[test]
    fn each_operation_of_a_document_has_its_own_form() {
        let (known, text) = (Known::default(), "query A { a } mutation B { b }");
        for name in ["A", "B", "A", "B"] {
            known.note(text, Some(name), &Arc::new(check(text, Some(name)).expect("it is there")));
        }
        let roots = |name| known.find(text, Some(name)).expect("it came twice").root_fields.clone();
        assert_eq!((roots("A"), roots("B")), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert!(known.find(text, None).is_none());
        assert!(known.state().bytes >= 2 * text.len() * PARSED_BYTES_PER_BYTE);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_least_used_goes_first() {
        let known = Known::default();
        for n in 0..=KNOWN_MAX {
            let text = padded(n, 0);
            note(&known, &text);
            note(&known, &text);
            assert!(known.find(&padded(0, 0), None).is_some(), "the first one is used all the time");
        }
        assert_eq!(known.state().entries.len(), KNOWN_MAX);
        assert!(known.find(&padded(1, 0), None).is_none());
        for n in 0..200 {
            let text = padded(n, 8_000);
            note(&known, &text);
            note(&known, &text);
        }
        let state = known.state();
        assert!(state.bytes <= KNOWN_BYTES_MAX && state.bytes > KNOWN_BYTES_MAX / 2, "{}", state.bytes);
        let counted: usize =
            state.entries.values().flat_map(|entry| &entry.forms).map(|form| form.bytes).sum();
        assert_eq!(state.bytes, counted);
    }

    #[test]
    fn a_short_text_that_becomes_long_is_counted_so() {
        let known = Known::default();
        for n in 0..20 {
            let fields = "a ".repeat(60);
            let spreads = "...F ".repeat(60);
            let text = format!("{{ a{n} {spreads} }} fragment F on Query {{ {fields} }}");
            note(&known, &text);
            note(&known, &text);
        }
        let state = known.state();
        assert!(state.bytes <= KNOWN_BYTES_MAX && state.entries.len() < 10, "{}", state.entries.len());
    }

    #[test]
    fn long_texts_and_texts_that_come_once_take_no_place() {
        let known = Known::default();
        for n in 0..2 * ONCE_MAX {
            note(&known, &padded(n, 0));
        }
        note(&known, &padded(0, KNOWN_TEXT_BYTES_MAX));
        note(&known, &padded(0, KNOWN_TEXT_BYTES_MAX));
        let state = known.state();
        assert!(state.entries.is_empty() && state.once.len() <= ONCE_MAX);
    }
}
