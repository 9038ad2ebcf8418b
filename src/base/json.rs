//! Owns how text stands in JSON. It must never allocate for text that needs no escape.

use std::fmt::Write as _;

/// Writes a string with its quotes.
pub fn write_text(text: &str, json: &mut String) {
    json.push('"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x20.. => continue,
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            _ => "",
        };
        json.push_str(&text[written..at]);
        written = at + 1;
        if escape.is_empty() {
            let _ = write!(json, "\\u{byte:04x}");
        } else {
            json.push_str(escape);
        }
    }
    json.push_str(&text[written..]);
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_stands_as_in_the_library() {
        let mut texts: Vec<String> = (0..0x300).filter_map(char::from_u32).map(String::from).collect();
        texts.extend(["", "plain", "a\"b\\c\n\u{1}ä\u{7f}\u{2028}😀\r\n", "\"", "\\\\"].map(str::to_owned));
        texts.push(texts.concat());
        for text in texts {
            let mut json = String::new();
            write_text(&text, &mut json);
            assert_eq!(json, serde_json::to_string(&text).expect("a string is JSON"));
        }
    }
}
