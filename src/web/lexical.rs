//! Owns the look at a document before the parser sees it: its size, its tokens, how deep its brackets nest.
//! It never recurses and never trusts what it reads, because the parser behind it does both.

use async_graphql::Pos;

use super::errors::{Code, Refusal};
use super::limits::{DOCUMENT_BYTES_MAX, NESTING_MAX, TOKENS_MAX};

/// Refuses a text that the parser could not take without harm. It judges no grammar; it must only split
/// strings and comments exactly as the parser does, or brackets could hide in them.
pub fn scan(text: &str) -> Result<(), Refusal> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(too_large(format!(
            "the document has {} bytes, at most {DOCUMENT_BYTES_MAX} are taken",
            text.len()
        )));
    }
    let bytes = text.as_bytes();
    let (mut at, mut tokens, mut depth) = (0, 0usize, 0usize);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += line_length(&bytes[at..]);
                continue;
            }
            b'"' => string_length(&bytes[at..]).ok_or_else(|| unterminated(text, start))?,
            b'(' | b'[' | b'{' => {
                depth += 1;
                1
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                1
            }
            b'.' if bytes[at..].starts_with(b"...") => 3,
            _ if is_word(byte) => bytes[at..].iter().take_while(|byte| is_word(**byte)).count(),
            _ => 1,
        };
        tokens += 1;
        if depth > NESTING_MAX {
            return Err(
                too_large(format!("brackets nest at most {NESTING_MAX} deep")).at(position(text, start))
            );
        }
        if tokens > TOKENS_MAX {
            return Err(too_large(format!("a document has at most {TOKENS_MAX} tokens")));
        }
    }
    Ok(())
}

fn too_large(message: String) -> Refusal {
    Refusal::new(Code::TooLarge, message)
}

/// The parser reads `"""` without an end as an empty string and goes on behind it, so the brackets that
/// follow would not be counted here: an open string is refused at once.
fn unterminated(text: &str, start: usize) -> Refusal {
    Refusal::new(Code::ParseFailed, "syntax error: a string has no end").at(position(text, start))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len())
}

/// Bytes of the string that starts here, quotes included. `None` when it has no end.
fn string_length(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\"\"\"") {
        return block_length(bytes);
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\n' | b'\r' => return None,
            b'\\' if matches!(bytes.get(at + 1), None | Some(b'\n' | b'\r')) => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn block_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 3;
    loop {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        if rest.starts_with(b"\\\"\"\"") {
            at += 4;
        } else if rest.starts_with(b"\"\"\"") {
            return Some(at + 3);
        } else {
            at += 1;
        }
    }
}

fn position(text: &str, at: usize) -> Pos {
    let before = &text[..at];
    Pos {
        line: before.matches('\n').count() + 1,
        column: before.chars().rev().take_while(|letter| *letter != '\n').count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<Code> {
        scan(text).err().map(|refusal| refusal.code)
    }

    #[test]
    fn nesting_is_refused_before_the_parser() {
        for open in ["[", "{", "(", "{a", "[[{a:", "@a(b:["] {
            let text = format!("{{ a(b: {}", open.repeat(10_000));
            assert_eq!(code(&text), Some(Code::TooLarge), "{open}");
        }
        let fits = format!("{}{}", "{a".repeat(NESTING_MAX), "}".repeat(NESTING_MAX));
        assert_eq!(code(&fits), None);
        let over = format!("{}{}", "{a".repeat(NESTING_MAX + 1), "}".repeat(NESTING_MAX + 1));
        assert_eq!(code(&over), Some(Code::TooLarge));
    }

    #[test]
    fn closing_first_buys_no_depth() {
        let text = format!("{}{}", "]".repeat(100), "[".repeat(NESTING_MAX + 1));
        assert_eq!(code(&text), Some(Code::TooLarge));
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let brackets = "[{(".repeat(200);
        for text in [
            format!("{{ a(b: \"{brackets}\") }}"),
            format!("{{ a(b: \"\\\"{brackets}\\\\\") }}"),
            format!("{{ a(b: \"\"\"{brackets}\n\\\"\"\" \" {brackets}\"\"\") }}"),
            format!("{{ a # {brackets} \" \n }}"),
        ] {
            assert_eq!(code(&text), None, "{text}");
        }
    }

    #[test]
    fn brackets_cannot_hide_in_something_that_only_looks_like_a_string() {
        let brackets = "[".repeat(200);
        for text in [
            format!("{{ a(b: [\"\"\" \" {brackets}"),
            format!("{{ a(b: \" \n {brackets}"),
            format!("{{ a(b: \"\\\n {brackets}"),
            "{ a(b: \"".to_owned(),
            "{ a(b: \"\"\"\"".to_owned(),
        ] {
            assert_eq!(code(&text), Some(Code::ParseFailed), "{text}");
        }
        for text in [
            format!("{{ a(b: \"\" {brackets}"),
            format!("{{ a(b: \"#\" {brackets}"),
            format!("# \"\"\" \r {brackets}"),
            format!("{{ a(b: \"\\\\\" {brackets}"),
        ] {
            assert_eq!(code(&text), Some(Code::TooLarge), "{text}");
        }
    }

    #[test]
    fn bytes_and_tokens_are_bounded() {
        assert_eq!(code(&"a ".repeat(TOKENS_MAX)), None);
        assert_eq!(code(&"a ".repeat(TOKENS_MAX + 1)), Some(Code::TooLarge));
        assert_eq!(code(&"!".repeat(TOKENS_MAX + 1)), Some(Code::TooLarge));
        assert_eq!(code(&"...a".repeat(TOKENS_MAX / 2 + 1)), Some(Code::TooLarge));
        assert_eq!(code(&" ".repeat(DOCUMENT_BYTES_MAX + 1)), Some(Code::TooLarge));
    }

    #[test]
    fn a_refusal_names_the_place() {
        let refusal = scan("{\n  ä(b: \"x").expect_err("it is open");
        assert_eq!(refusal.locations, [Pos { line: 2, column: 8 }]);
    }
}
