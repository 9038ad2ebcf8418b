//! Owns JSON on the command line: the parameters of a job, and whatever else is given as JSON or as a file of it.

use std::fs;
use std::io::{self, Read};

use serde_json::{Map, Value};

use super::outcome::{Stop, exit};

/// Bytes of a file that are read; the daemon takes fewer.
const BYTES_MAX: u64 = 1024 * 1024;

/// The flags of a job's parameters.
#[derive(Debug, clap::Args)]
pub struct ParameterFlags {
    /// A parameter, read as JSON when it is that, else as a text; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    each: Vec<(String, Value)>,
    /// All parameters as a JSON object, or @FILE with one, @- for stdin; --param goes over it
    #[arg(long = "params", value_name = "JSON")]
    all: Option<String>,
}

impl ParameterFlags {
    /// The parameters, when some were given.
    pub fn object(self) -> Result<Option<Value>, Stop> {
        if self.all.is_none() && self.each.is_empty() {
            return Ok(None);
        }
        let all = self.all.map_or_else(|| Ok(Value::Object(Map::new())), |text| json("--params", &text))?;
        let Value::Object(mut object) = all else {
            return Err(Stop::new(exit::USAGE, "--params must be a JSON object".to_owned()));
        };
        object.extend(self.each);
        Ok(Some(Value::Object(object)))
    }
}

/// JSON given as `text` to a flag, or in the file that `@FILE` names.
pub fn json(flag: &str, text: &str) -> Result<Value, Stop> {
    let given = match text.strip_prefix('@') {
        Some(file) => {
            let read = read(file);
            read.map_err(|error| Stop::new(exit::USAGE, format!("{flag}: cannot read {file}: {error}")))?
        }
        None => text.to_owned(),
    };
    let value = serde_json::from_str(&given)
        .map_err(|error| Stop::new(exit::USAGE, format!("{flag} is no JSON: {error}")))?;
    match too_large(&given) {
        None => Ok(value),
        Some(number) => Err(Stop::new(exit::USAGE, format!("{flag}: {}", too_large_words(number)))),
    }
}

/// A whole number in a JSON text that would come out as another one.
pub fn too_large(json: &str) -> Option<&str> {
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let token = &rest[at..];
        let length = if let Some(text) = token.strip_prefix('"') {
            let mut is_escaped = false;
            let end = text.find(|c: char| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            });
            end.map_or(token.len(), |end| end + 2)
        } else {
            token.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(token.len())
        };
        let (token, behind) = token.split_at(length);
        let is_whole = token.strip_prefix('-').unwrap_or(token).bytes().all(|byte| byte.is_ascii_digit());
        if is_whole && token.parse::<i64>().is_err() && token.parse::<u64>().is_err() {
            return Some(token);
        }
        rest = behind;
    }
    None
}

/// What is said of it.
pub fn too_large_words(number: &str) -> String {
    format!("{number} is too large for a number in JSON here: write it as a text, \"{number}\" in quotes")
}

fn read(file: &str) -> io::Result<String> {
    let mut text = String::new();
    if file == "-" {
        io::stdin().take(BYTES_MAX).read_to_string(&mut text)?;
    } else {
        fs::File::open(file)?.take(BYTES_MAX).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// `name=value` of a parameter: a value that is JSON is taken as such, any other is a text, and so is a number that would
/// not come back as it is written.
pub fn parameter(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let read = serde_json::from_str(value).ok();
            if let Some(number) = read.as_ref().and_then(|_| too_large(value)) {
                return Err(too_large_words(number));
            }
            // A version or a commit may look like a number that would be written in another way.
            let comes_back = |read: &Value| {
                let again = read.to_string();
                !read.is_number() || again == value.trim()
            };
            let read = read.filter(comes_back);
            Ok((name.to_owned(), read.unwrap_or_else(|| Value::String(value.to_owned()))))
        }
        _ => Err("write name=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_parameter_is_json_when_it_can_be() {
        for (text, name, value) in [
            ("a=3", "a", json!(3)),
            ("a=true", "a", json!(true)),
            ("a=null", "a", json!(null)),
            ("a=[1, {}]", "a", json!([1, {}])),
            ("a=\"3\"", "a", json!("3")),
            ("a=007", "a", json!("007")),
            ("a=1.5", "a", json!(1.5)),
            ("a=-3", "a", json!(-3)),
            ("a=0.5", "a", json!(0.5)),
            // Versions and commits.
            ("a=1.10", "a", json!("1.10")),
            ("a=12345e7", "a", json!("12345e7")),
            ("a=0.12345678901234567890", "a", json!("0.12345678901234567890")),
            ("a=x=y", "a", json!("x=y")),
            ("a=", "a", json!("")),
        ] {
            assert_eq!(parameter(text), Ok((name.to_owned(), value)), "{text}");
        }
        assert!(parameter("a").is_err() && parameter("=1").is_err());
    }

    #[test]
    fn a_number_that_would_become_another_one_is_refused() {
        for text in ["18446744073709551616", "-9223372036854775809", "[1, {\"a\": 123456789012345678901234}]"]
        {
            assert!(parameter(&format!("a={text}")).unwrap_err().contains("is too large"), "{text}");
            assert!(json("--params", text).is_err(), "{text}");
        }
        for text in [
            "18446744073709551615",
            "-9223372036854775808",
            "1e300",
            "0.1",
            "[\"123456789012345678901234 \\\" 1\", -0]",
        ] {
            assert!(json("--params", text).is_ok(), "{text}");
        }
    }
}
