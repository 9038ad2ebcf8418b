//! Owns how a value of the API becomes JSON, for every transport. A `Value::Binary` is JSON that is ready already:
//! rows that wrote themselves. Nothing else may write such values, for everybody else would print a list of numbers.

use std::fmt::Write as _;

use async_graphql::Value;

pub use crate::base::json::write_text as text;

/// What an answer takes at first.
pub const ANSWER_BYTES: usize = 256;

/// Writes a value.
pub fn value(value: &Value, json: &mut String) {
    match value {
        Value::Null => json.push_str("null"),
        Value::Boolean(true) => json.push_str("true"),
        Value::Boolean(false) => json.push_str("false"),
        Value::Number(number) => {
            let _ = write!(json, "{number}");
        }
        Value::String(string) => text(string, json),
        Value::Enum(word) => text(word, json),
        Value::Binary(ready) => json.push_str(str::from_utf8(ready).expect("it was written as text")),
        Value::List(values) => {
            json.push('[');
            for one in values {
                self::value(one, json);
                json.push(',');
            }
            close(json, ']');
        }
        Value::Object(fields) => {
            json.push('{');
            for (key, field) in fields {
                text(key, json);
                json.push(':');
                self::value(field, json);
                json.push(',');
            }
            close(json, '}');
        }
    }
}

/// Ends a list or an object: over the comma behind its last part, if it has one.
pub fn close(json: &mut String, bracket: char) {
    if json.ends_with(',') {
        json.pop();
    }
    json.push(bracket);
}

#[cfg(test)]
mod tests {
    use async_graphql::{Name, Number, value};

    use super::*;

    fn encoded(it: &Value) -> String {
        let mut json = String::new();
        value(it, &mut json);
        json
    }

    #[test]
    fn it_writes_what_the_library_writes() {
        let numbers: Vec<Value> = [0.1, -1.5e300, 1e16, 3.0, f64::MIN_POSITIVE, 123_456_789.125]
            .into_iter()
            .filter_map(Number::from_f64)
            .map(Value::Number)
            .collect();
        for it in [
            value!(null),
            value!([true, false, null, [], {}, [[]], {"a": {}}]),
            value!({"a": 1, "b": (-7), "c": (u64::MAX), "d": (i64::MIN), "e": "x,"}),
            value!({"q\"": "a\"b\\c\n\u{1}ä\u{7f}\u{2028}", "list": [",", "]", ","]}),
            Value::List(numbers),
            Value::Enum(Name::new("QUEUED")),
            value!(","),
        ] {
            assert_eq!(encoded(&it), serde_json::to_string(&it).expect("it is JSON"), "{it}");
        }
    }

    #[test]
    fn ready_json_stands_as_it_is() {
        let ready = Value::Binary(r#"[{"a":1}]"#.into());
        let it = Value::List(vec![ready, value!({"b": 2})]);
        assert_eq!(encoded(&it), r#"[[{"a":1}],{"b":2}]"#);
    }
}
