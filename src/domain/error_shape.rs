//! Owns the shape of an error line: what is the same each time a fault shows, with placeholders for what differs from
//! run to run. One walk over the line, no backtracking. It must keep what a person keeps apart: the class of the error,
//! words of the system, codes.

use super::error_line::skip_escape;
use super::error_parts::{
    MONTHS, UUID_BYTES, digits, is_address, is_hex, is_path, is_scrambled, is_time, is_uuid, is_windows_path,
    without_place,
};

/// Bytes of a shape.
const SHAPE_BYTES_MAX: usize = 400;
/// Quoted texts inside of quoted texts that are looked into.
const DEPTH_MAX: u8 = 2;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const ZONES: [&str; 9] = ["UTC", "GMT", "Z", "AM", "PM", "am", "pm", "CET", "CEST"];
/// A number and then one of these words is one quantity.
const UNITS: [&str; 33] = [
    "ns",
    "us",
    "ms",
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "milliseconds",
    "m",
    "min",
    "mins",
    "minute",
    "minutes",
    "h",
    "hour",
    "hours",
    "d",
    "day",
    "days",
    "B",
    "byte",
    "bytes",
    "kB",
    "KB",
    "MB",
    "GB",
    "TB",
    "KiB",
    "MiB",
    "GiB",
    "kb",
    "mb",
];
/// Words whose number is a code and not a quantity.
const CODES: [&str; 13] = [
    "code",
    "status",
    "errno",
    "signal",
    "exit",
    "http",
    "sqlstate",
    "curl",
    "rc",
    "error",
    "exitcode",
    "returncode",
    "hresult",
];
/// What stands before the number of an error in a manual, with a hyphen between.
const MANUALS: [&str; 9] = ["ORA-", "PLS-", "TNS-", "SP2-", "DPY-", "RFC-", "CVE-", "ERR-", "SQL-"];
/// Keys whose quoted value is the message itself.
const MESSAGES: [&str; 12] = [
    "msg",
    "message",
    "error",
    "err",
    "reason",
    "exception",
    "cause",
    "detail",
    "details",
    "description",
    "desc",
    "stderr",
];
/// The shape of an error line.
pub fn shape(line: &str) -> String {
    let mut scan = Scan { shape: String::with_capacity(line.len()), depth: 0 };
    scan.text(&plain(line));
    let mut end = scan.shape.len().min(SHAPE_BYTES_MAX);
    while !scan.shape.is_char_boundary(end) {
        end -= 1;
    }
    scan.shape.truncate(end);
    scan.shape.trim().to_owned()
}

/// The line without colours, with single spaces and plain quotes.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            c if c.is_whitespace() || c.is_control() => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
            }
            '\u{2018}' | '\u{2019}' | '\u{201b}' => text.push('\''),
            '\u{201c}' | '\u{201d}' | '\u{ab}' | '\u{bb}' => text.push('"'),
            c => text.push(c),
        }
    }
    text
}

struct Scan {
    shape: String,
    depth: u8,
}

impl Scan {
    fn text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        // Once a quote had no end, no later one of its kind has.
        let mut is_open = [true; 3];
        let mut at = 0;
        while at < bytes.len() && self.shape.len() <= SHAPE_BYTES_MAX {
            if let Some(kind) = b"\"'`".iter().position(|quote| *quote == bytes[at]) {
                let begins = bytes[at] == b'"' || at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
                let end = if begins && is_open[kind] { closing(bytes, at) } else { None };
                is_open[kind] &= !begins || end.is_some();
                if let Some(end) = end {
                    self.quoted(&text[at + 1..end], bytes[at] == b'"' && bytes.get(end + 1) == Some(&b':'));
                    at = end + 1;
                    continue;
                }
            }
            if is_delimiter(bytes[at]) {
                self.shape.push(char::from(bytes[at]));
                at += 1;
                continue;
            }
            let start = at;
            while at < bytes.len() && !is_delimiter(bytes[at]) {
                at += 1;
            }
            self.chunk(&text[start..at]);
            at += self.behind(&text[at..]);
        }
    }

    /// How much of what follows belongs to what was just written: the rest of a date, a unit, the padding of a secret.
    fn behind(&self, rest: &str) -> usize {
        if self.shape.ends_with("<time>") {
            return self.behind_time(rest);
        }
        if self.shape.ends_with("<url>") {
            let is_end = |byte: u8| matches!(byte, b' ' | b'"' | b'\'' | b')' | b'>' | b',');
            return rest.bytes().position(is_end).unwrap_or(rest.len());
        }
        if !self.shape.ends_with("<n>") {
            return 0;
        }
        let pad = rest.bytes().take_while(|byte| *byte == b'=').count();
        if pad > 0 {
            return pad.min(2);
        }
        let bare = next_word(rest).map(|word| word.trim_end_matches([',', ':', '.', '!']));
        bare.filter(|bare| UNITS.contains(bare)).map_or(0, |bare| 1 + bare.len())
    }

    /// What of a date and a time follows its first part.
    fn behind_time(&self, rest: &str) -> usize {
        let fraction = rest.strip_prefix(',').map_or(0, digits);
        let mut taken = if fraction >= 3 { 1 + fraction } else { 0 };
        while let Some(word) = next_word(&rest[taken..]) {
            let bare = word.trim_end_matches([',', ':', '.']);
            // A plain number is a day or a year only where the line begins with a date.
            let is_begun = taken > 0 || self.shape == "<time>" || self.shape == "[<time>";
            let is_number = digits(bare) == bare.len() && matches!(bare.len(), 1 | 2 | 4);
            let is_zone = bare.len() == 5 && bare.starts_with(['+', '-']) && digits(&bare[1..]) == 4;
            let belongs = is_time(bare) || ZONES.contains(&bare) || MONTHS.contains(&bare) || is_zone;
            if bare.is_empty() || !(belongs || is_begun && is_number) {
                break;
            }
            taken += 1 + bare.len();
            if bare.len() < word.len() {
                break;
            }
        }
        taken
    }

    /// A quoted text: a placeholder, unless it is a key or the message itself.
    fn quoted(&mut self, inner: &str, is_key: bool) {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if is_key
            && inner.len() <= 40
            && inner.starts_with(|c: char| c.is_ascii_alphabetic())
            && inner.chars().all(is_word)
        {
            self.shape.push('"');
            self.shape.push_str(inner);
            self.shape.push('"');
            return;
        }
        if self.depth < DEPTH_MAX && self.is_message_next() {
            self.depth += 1;
            self.text(inner);
            self.depth -= 1;
            return;
        }
        self.place("<q>");
    }

    /// Whether the shape so far ends in a key whose value is the message.
    fn is_message_next(&self) -> bool {
        let head = before_gap(&self.shape, b" :=\"");
        let gap = self.shape[head.len()..].replace(' ', "");
        let word = last_word(head);
        let is_key = MESSAGES.iter().any(|key| word.eq_ignore_ascii_case(key));
        is_key && (gap == "=" || gap == "\":" || (gap == ":" && word.to_ascii_lowercase().starts_with('m')))
    }

    /// What stands between delimiters.
    fn chunk(&mut self, chunk: &str) {
        let body = chunk.trim_end_matches(['.', ':', '!', '?']);
        let tail = &chunk[body.len()..];
        if body.is_empty() {
            self.shape.push_str(chunk);
            return;
        }
        if body.contains("://") {
            self.place("<url>");
        } else if is_time(body) || self.is_date_word(body) {
            self.place("<time>");
        } else if is_address(body) {
            self.place("<ip>");
        } else if is_windows_path(body) || is_path(without_place(body)) {
            self.place("<path>");
        } else {
            for (at, piece) in body.split(':').enumerate() {
                if at > 0 {
                    self.shape.push(':');
                }
                self.piece(piece);
            }
        }
        self.shape.push_str(tail);
    }

    /// A month or a day of the week, where a line begins or a date has begun.
    fn is_date_word(&self, word: &str) -> bool {
        let is_first = self.shape.is_empty() || self.shape == "[" || self.shape.ends_with("<time>, ");
        is_first && (MONTHS.contains(&word) || DAYS.contains(&word))
    }

    /// A chunk without a colon.
    fn piece(&mut self, piece: &str) {
        if is_scrambled(piece) {
            return self.place("<n>");
        }
        if let Some((local, domain)) = piece.split_once('@')
            && !local.is_empty()
            && !domain.is_empty()
        {
            let is_hash = !domain.contains('.') && is_hex(domain, 4);
            if is_hash || domain.starts_with(|c: char| c.is_ascii_digit()) && !is_address(domain) {
                self.words(local);
                self.shape.push('@');
                return self.words(domain);
            }
            return self.place("<email>");
        }
        if is_path(piece) {
            return self.place("<path>");
        }
        self.words(piece);
    }

    /// Words and what joins them.
    fn words(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if is_uuid(&bytes[at..]) {
                self.place("<n>");
                at += UUID_BYTES;
                continue;
            }
            let is_sign = matches!(bytes[at], b'-' | b'+' | b'.') && (at == 0 || !is_word(bytes[at - 1]));
            if is_sign && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
                at += 1;
                continue;
            }
            if !is_word(bytes[at]) {
                // A character of several bytes is a word byte as a whole.
                self.shape.push(char::from(bytes[at]));
                at += 1;
                continue;
            }
            let start = at;
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
            self.word(&text[start..at]);
            if self.shape.ends_with("<n>") && bytes.get(at) == Some(&b'%') {
                at += 1;
            }
        }
    }

    fn word(&mut self, word: &str) {
        let digit_count = word.bytes().filter(u8::is_ascii_digit).count();
        if digit_count == 0 {
            // The last part of a pod's name is made of letters by chance.
            let is_suffix = word.len() == 5
                && self.shape.ends_with("<n>-")
                && word.bytes().all(|b| b.is_ascii_lowercase());
            return if is_suffix { self.place("<n>") } else { self.shape.push_str(word) };
        }
        if self.is_code(word, digit_count) {
            return self.shape.push_str(word);
        }
        let letters = word.len() - word.trim_start_matches(|c: char| !c.is_ascii_digit()).len();
        let (head, rest) = word.split_at(letters);
        let is_counted = !head.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
        if is_counted && !is_hex(word, 7) {
            self.shape.push_str(head);
            return self.place("<n>");
        }
        if word.len() <= 3 && !head.is_empty() {
            return self.shape.push_str(word);
        }
        self.place("<n>");
    }

    /// Whether a word with digits names a kind of error: `E0308`, `TS2322`, `exit status 2`, `ORA-00942`.
    fn is_code(&self, word: &str, digit_count: usize) -> bool {
        let letters = word.len() - digit_count;
        let is_named = (1..=4).contains(&letters)
            && (2..=5).contains(&digit_count)
            && word.as_bytes()[..letters].iter().all(u8::is_ascii_uppercase);
        if is_named && !self.shape.ends_with(['-', '_', '/']) {
            return true;
        }
        if letters == 0 && MANUALS.iter().any(|manual| self.shape.ends_with(manual)) {
            return true;
        }
        let head = before_gap(&self.shape, b" :=([#");
        let gap = &self.shape[head.len()..];
        if gap.is_empty() || gap.len() > 3 {
            return false;
        }
        if head.ends_with("HTTP/<n>") {
            return true;
        }
        let name = last_word(head);
        if !CODES.iter().any(|code| name.eq_ignore_ascii_case(code)) {
            return false;
        }
        let is_status = letters == 0 && word.len() == 3 && word.starts_with(['4', '5']);
        if name.eq_ignore_ascii_case("error") && gap.contains(':') {
            return is_status;
        }
        (letters == 0 && digit_count <= 5) || word.starts_with("0x") || name.eq_ignore_ascii_case("sqlstate")
    }

    /// Writes a placeholder; several of a kind in a row are one.
    fn place(&mut self, placeholder: &str) {
        for join in ["", ", ", ",", " ", "-", "_", ".", "; "] {
            if let Some(head) = self.shape.strip_suffix(join)
                && head.ends_with(placeholder)
            {
                let length = head.len();
                self.shape.truncate(length);
                return;
            }
        }
        self.shape.push_str(placeholder);
    }
}

fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'"'
            | b'\''
            | b'`'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'<'
            | b'>'
            | b','
            | b';'
            | b'|'
            | b'='
    )
}

/// Where the quote that stands at `at` ends.
fn closing(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = bytes[at];
    let mut end = at + 1;
    while end < bytes.len() {
        let is_last = bytes.get(end + 1).is_none_or(|next| !next.is_ascii_alphanumeric());
        match bytes[end] {
            b'\\' if quote == b'"' => end += 1,
            b'"' if quote == b'"' => return Some(end),
            b'`' if quote == b'`' => return Some(end),
            // Also the older way: a backtick opens and an apostrophe closes.
            b'\'' if quote != b'"' && is_last => return Some(end),
            _ => {}
        }
        end += 1;
    }
    None
}

/// The word behind one space.
fn next_word(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix(' ')?;
    let end = rest.bytes().position(|byte| byte != b',' && is_delimiter(byte)).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|word| !word.is_empty())
}

/// What stands before the punctuation at the end, of which only a few characters are looked at.
fn before_gap<'a>(text: &'a str, gap: &[u8]) -> &'a str {
    let length = text.bytes().rev().take(5).take_while(|byte| gap.contains(byte)).count();
    &text[..text.len() - length]
}

fn last_word(text: &str) -> &str {
    let bytes = text.as_bytes();
    let mut start = bytes.len();
    while start > 0 && bytes[start - 1].is_ascii_alphabetic() {
        start -= 1;
    }
    &text[start..]
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}
