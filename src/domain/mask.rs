//! Owns hiding secrets in what a job says, also when a secret comes in pieces. Pure: it gives the same text
//! however its input was cut, and it never lets out a byte that may still turn out to be a part of a secret.

use super::limits::{MASK_BYTES_MAX, MASK_BYTES_MIN, MASKS_MAX};

/// What stands in the place of a secret.
pub const MASK: &[u8] = b"***";

/// The secrets of one attempt.
#[derive(Debug, Clone)]
pub struct Masks {
    /// In the order of their bytes, so that those which begin alike stand together.
    secrets: Vec<Vec<u8>>,
    /// How many of them were given from outside, beside the job's own.
    given_count: usize,
    /// Whether a secret begins with the byte: most bytes are passed over by this alone.
    begins: [bool; 256],
}

impl Default for Masks {
    fn default() -> Masks {
        Masks { secrets: Vec::new(), given_count: 0, begins: [false; 256] }
    }
}

impl Masks {
    /// Hides `secret` from now on; `false` when it is too short to be told from other text, or one too many.
    pub fn add(&mut self, secret: &str) -> bool {
        let secret = secret.as_bytes();
        if self.is_known(secret) {
            return true;
        }
        let fits = (MASK_BYTES_MIN..=MASK_BYTES_MAX).contains(&secret.len());
        if !fits || self.secrets.len() - self.given_count >= MASKS_MAX {
            return false;
        }
        self.put(secret);
        true
    }

    /// Hides a secret that the job is given, whatever it hides itself. One that is too short is passed over; a long
    /// one is hidden piece by piece, so that all of it is hidden where all of it stands.
    pub fn give(&mut self, secret: &str) {
        let secret = secret.as_bytes();
        let last = secret.len().saturating_sub(MASK_BYTES_MAX);
        for begin in (0..secret.len()).step_by(MASK_BYTES_MAX) {
            // The last piece is as long as the others, over the one before it.
            let piece = &secret[begin.min(last)..];
            let piece = &piece[..piece.len().min(MASK_BYTES_MAX)];
            if piece.len() >= MASK_BYTES_MIN && !self.is_known(piece) {
                self.put(piece);
                self.given_count += 1;
            }
        }
    }

    fn is_known(&self, secret: &[u8]) -> bool {
        self.secrets.binary_search_by(|known| known.as_slice().cmp(secret)).is_ok()
    }

    fn put(&mut self, secret: &[u8]) {
        self.begins[usize::from(secret[0])] = true;
        let at = self.secrets.partition_point(|known| known.as_slice() < secret);
        self.secrets.insert(at, secret.to_vec());
    }

    /// The secrets that begin with the byte.
    fn beginning_with(&self, byte: u8) -> &[Vec<u8>] {
        let from = self.secrets.partition_point(|known| known[0] < byte);
        let to = self.secrets.partition_point(|known| known[0] <= byte);
        &self.secrets[from..to]
    }

    /// How many secrets are hidden.
    pub fn count(&self) -> usize {
        self.secrets.len()
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// A whole text without the secrets.
    pub fn hide(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        let mut stream = MaskedStream::default();
        let mut shown = stream.push(self, text.as_bytes());
        shown.extend(stream.finish(self));
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// What begins at the start of `rest`, where more may follow unless `is_end`.
    fn look(&self, rest: &[u8], is_end: bool) -> Look {
        if !self.begins[usize::from(rest[0])] {
            return Look::Plain;
        }
        let alike = self.beginning_with(rest[0]);
        if !is_end && alike.iter().any(|one| one.len() > rest.len() && one.starts_with(rest)) {
            return Look::Undecided;
        }
        let longest = alike.iter().filter(|one| rest.starts_with(one)).map(Vec::len).max();
        longest.map_or(Look::Plain, Look::Secret)
    }
}

enum Look {
    Plain,
    /// More bytes have to come to tell.
    Undecided,
    /// So many bytes are a secret.
    Secret(usize),
}

/// One stream of bytes on its way through the masks. Secrets that overlap are hidden together.
#[derive(Debug, Default)]
pub struct MaskedStream {
    /// Bytes that may begin a secret: fewer than the longest one has.
    held: Vec<u8>,
    /// Bytes from the beginning of `held` that belong to a secret which is hidden already.
    covered: usize,
}

impl MaskedStream {
    /// Takes the next bytes; gives what can be shown by now.
    pub fn push(&mut self, masks: &Masks, bytes: &[u8]) -> Vec<u8> {
        self.pass(masks, bytes, false)
    }

    /// Gives what was held back: nothing follows.
    pub fn finish(&mut self, masks: &Masks) -> Vec<u8> {
        self.pass(masks, &[], true)
    }

    fn pass(&mut self, masks: &Masks, bytes: &[u8], is_end: bool) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.held);
        input.extend_from_slice(bytes);
        let mut shown = Vec::with_capacity(input.len());
        for at in 0..input.len() {
            let length = match masks.look(&input[at..], is_end) {
                Look::Undecided => {
                    self.held = input.split_off(at);
                    return shown;
                }
                Look::Plain => 0,
                Look::Secret(length) => length,
            };
            if length > 0 && self.covered == 0 {
                shown.extend_from_slice(MASK);
            }
            self.covered = self.covered.max(length);
            match self.covered.checked_sub(1) {
                Some(left) => self.covered = left,
                None => shown.push(input[at]),
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(secrets: &[&str]) -> Masks {
        let mut masks = Masks::default();
        for secret in secrets {
            assert!(masks.add(secret), "{secret}");
        }
        masks
    }

    /// The rule, written down another way: mark every byte of every occurrence, then replace each run that
    /// hangs together.
    fn expected(text: &[u8], secrets: &[&str]) -> Vec<u8> {
        let mut shown = Vec::new();
        let mut end = 0;
        for at in 0..text.len() {
            let here = secrets.iter().filter(|one| text[at..].starts_with(one.as_bytes()));
            if let Some(length) = here.map(|one| one.len()).max() {
                if at >= end {
                    shown.extend_from_slice(b"***");
                }
                end = end.max(at + length);
            }
            if at >= end {
                shown.push(text[at]);
            }
        }
        shown
    }

    const CASES: &[(&str, &[&str], &str)] = &[
        ("no secret here", &["hunter2"], "no secret here"),
        ("a hunter2 b hunter2", &["hunter2"], "a *** b ***"),
        ("hunter2hunter2", &["hunter2"], "******"),
        ("hunterhunter2", &["hunter2"], "hunter***"),
        ("ends in hunter", &["hunter2"], "ends in hunter"),
        ("abcdef abcd", &["abcd", "abcdef"], "*** ***"),
        ("xabcdefx", &["abcd", "cdef"], "x***x"),
        ("abababab!", &["abab"], "***!"),
        ("abababa!", &["abab"], "***a!"),
        ("one\ntwo\nthree", &["one\ntwo"], "***\nthree"),
        ("grüße an alle", &["grüße"], "*** an alle"),
        ("aaaaaaab aaaab", &["aaaab"], "aaa*** ***"),
    ];

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (text, secrets, shown) in CASES {
            assert_eq!(masks(secrets).hide(text), *shown, "{text}");
            assert_eq!(expected(text.as_bytes(), secrets), shown.as_bytes(), "{text}");
        }
    }

    #[test]
    fn however_it_is_cut_the_same_is_shown() {
        for (text, secrets, shown) in CASES {
            let (masks, text) = (masks(secrets), text.as_bytes());
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let mut stream = MaskedStream::default();
                    let mut seen = stream.push(&masks, &text[..first]);
                    seen.extend(stream.push(&masks, &text[first..second]));
                    seen.extend(stream.push(&masks, &text[second..]));
                    seen.extend(stream.finish(&masks));
                    assert_eq!(seen, shown.as_bytes(), "{text:?} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn every_short_text_of_two_letters_follows_the_rule_in_single_bytes() {
        let secrets = ["abba", "aaaa", "babab"];
        let masks = masks(&secrets);
        for number in 0..1u32 << 12 {
            let text: Vec<u8> = (0..12).map(|bit| b"ab"[(number >> bit & 1) as usize]).collect();
            let mut stream = MaskedStream::default();
            let mut seen: Vec<u8> =
                text.iter().flat_map(|byte| stream.push(&masks, std::slice::from_ref(byte))).collect();
            seen.extend(stream.finish(&masks));
            assert_eq!(seen, expected(&text, &secrets), "{text:?}");
        }
    }

    #[test]
    fn a_mask_needs_some_length_and_there_are_so_many() {
        let mut masks = Masks::default();
        assert!(!masks.add("abc"));
        for number in 0..MASKS_MAX {
            assert!(masks.add(&format!("secret-{number}")));
        }
        assert!(!masks.add("one too many"));
        assert!(masks.add("secret-0"), "what is hidden already costs nothing");
    }

    /// Numbers that are the same in every run.
    fn next(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*state >> 33).expect("31 bits fit")
    }

    #[test]
    fn cut_anywhere_and_often_the_same_is_shown() {
        let secrets = ["hunter2", "ter2two", "multi\nline", "\u{fc}ber", "aaaa"];
        let words =
            ["hunter2", "hun", "ter2", "two", "multi\n", "line", "\u{fc}", "ber", "aaaa", "a", " ", "\n"];
        let masks = masks(&secrets);
        let mut state = 4711;
        for round in 0..300 {
            let text: String = (0..40).map(|_| words[next(&mut state) % words.len()]).collect();
            let whole = masks.hide(&text);
            assert_eq!(whole.as_bytes(), expected(text.as_bytes(), &secrets), "{text:?}");
            for secret in secrets {
                assert!(!whole.contains(secret), "{secret:?} shows in {whole:?}");
            }
            let (mut stream, mut seen, mut rest) = (MaskedStream::default(), Vec::new(), text.as_bytes());
            while !rest.is_empty() {
                let (part, behind) = rest.split_at((next(&mut state) % 9).min(rest.len()));
                seen.extend(stream.push(&masks, part));
                rest = behind;
            }
            seen.extend(stream.finish(&masks));
            assert_eq!(String::from_utf8_lossy(&seen), whole, "round {round}: {text:?}");
        }
    }

    #[test]
    fn what_a_job_is_given_is_hidden_beside_what_it_hides_itself() {
        let mut masks = Masks::default();
        for number in 0..200 {
            masks.give(&format!("given-{number}-key"));
        }
        masks.give("abc");
        assert_eq!(masks.count(), 200);
        for number in 0..MASKS_MAX {
            assert!(masks.add(&format!("own-{number}")));
        }
        assert!(!masks.add("one too many"));
        assert_eq!(masks.hide("given-7-key own-3 given-199-key abc"), "*** *** *** abc");
    }

    #[test]
    fn a_given_secret_of_any_length_is_hidden_whole() {
        for length in [MASK_BYTES_MAX, MASK_BYTES_MAX + 1, 3 * MASK_BYTES_MAX - 5, 4 * MASK_BYTES_MAX] {
            let secret: String =
                (0..length).map(|at| b"kyQ7#_x.m"[at * at % 83 % 9]).map(char::from).collect();
            let mut masks = Masks::default();
            masks.give(&secret);
            let shown = masks.hide(&format!("<{secret}>"));
            let bare = shown.trim_start_matches('<').trim_end_matches('>').replace('*', "");
            assert_eq!(bare, "", "{length}");
        }
    }
}
