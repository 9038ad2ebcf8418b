//! Owns the way from bytes to the parameters of a GraphQL request, for all transports.
//! It must never run anything and never take more than one request at a time.

use std::collections::HashMap;

use async_graphql::{Value, Variables};
use serde::Deserialize;

use super::errors::{Code, Refusal};

/// What a client asks for, before the document is read.
#[derive(Debug, Default)]
pub struct Parameters {
    /// The document.
    pub query: String,
    /// Which of its operations; absent when empty.
    pub operation_name: Option<String>,
    /// By name.
    pub variables: Variables,
}

/// The parameters as they come; each may have any type, so that a wrong one is named.
#[derive(Debug, Default, Deserialize)]
struct Loose {
    #[serde(default)]
    query: Value,
    #[serde(default, rename = "operationName")]
    operation_name: Value,
    #[serde(default)]
    variables: Value,
    #[serde(default)]
    extensions: Value,
}

impl Loose {
    fn strict(self) -> Result<Parameters, Refusal> {
        let Value::String(query) = self.query else {
            return Err(bad("`query` must be a string"));
        };
        let operation_name = match self.operation_name {
            Value::Null => None,
            Value::String(name) => Some(name).filter(|name| !name.is_empty()),
            _ => return Err(bad("`operationName` must be a string")),
        };
        if !matches!(self.variables, Value::Null | Value::Object(_)) {
            return Err(bad("`variables` must be an object"));
        }
        if !matches!(self.extensions, Value::Null | Value::Object(_)) {
            return Err(bad("`extensions` must be an object"));
        }
        Ok(Parameters { query, operation_name, variables: Variables::from_value(self.variables) })
    }
}

impl Parameters {
    /// From the JSON body of a POST.
    pub fn from_json(body: &[u8]) -> Result<Parameters, Refusal> {
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => {
                return Err(Refusal::new(
                    Code::BatchingDisabled,
                    "several requests in one array are not taken: send them one by one, or as one document",
                ));
            }
            Some(b'{') => {}
            Some(_) => return Err(bad("the body must be a JSON object")),
            None => return Err(bad("the body is empty: send a JSON object with `query`")),
        }
        serde_json::from_slice::<Loose>(body)
            .map_err(|error| bad(&format!("the body is not JSON: {error}")))?
            .strict()
    }

    /// From the payload of a WebSocket's `subscribe` message.
    pub fn from_payload(payload: Value) -> Result<Parameters, Refusal> {
        let Value::Object(mut given) = payload else {
            return Err(bad("the payload must be an object"));
        };
        let mut take = |name: &str| given.swap_remove(name).unwrap_or_default();
        Loose {
            query: take("query"),
            operation_name: take("operationName"),
            variables: take("variables"),
            extensions: take("extensions"),
        }
        .strict()
    }

    /// From the query string of a GET.
    pub fn from_query_string(text: &str) -> Result<Parameters, Refusal> {
        let mut given: HashMap<String, String> = HashMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if given.insert(name.clone(), value).is_some() {
                return Err(bad(&format!("the parameter `{name}` is there twice")));
            }
        }
        let mut json = |name: &str| match given.remove(name) {
            None => Ok(Value::Null),
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| bad(&format!("`{name}` is not JSON: {error}")))
            }
        };
        let (variables, extensions) = (json("variables")?, json("extensions")?);
        let mut text = |name: &str| given.remove(name).map_or(Value::Null, Value::String);
        Loose { query: text("query"), operation_name: text("operationName"), variables, extensions }.strict()
    }
}

fn bad(message: &str) -> Refusal {
    Refusal::new(Code::BadRequest, message)
}

/// `application/x-www-form-urlencoded`, UTF-8 only.
fn decoded(text: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(bad("the query string has a broken %-escape"));
                };
                u8::try_from(high * 16 + low).expect("two hex digits fit a byte")
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad("the query string is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use async_graphql::value;

    use super::*;

    fn code(body: &str) -> Option<Code> {
        Parameters::from_json(body.as_bytes()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn each_parameter_has_one_type() {
        assert_eq!(code(r#"{"query":"{a}"}"#), None);
        assert_eq!(
            code(r#" {"query":"{a}","variables":null,"operationName":null,"extensions":null,"x":1}"#),
            None
        );
        for body in [
            "",
            "  ",
            "1",
            "null",
            "\"x\"",
            "{",
            "{}",
            r#"{"query":null}"#,
            r#"{"query":1}"#,
            r#"{"query":"a","query":"b"}"#,
            r#"{"query":"a"} x"#,
            r#"{"query":"a","variables":[]}"#,
            r#"{"query":"a","operationName":3}"#,
            r#"{"query":"a","extensions":"x"}"#,
        ] {
            assert_eq!(code(body), Some(Code::BadRequest), "{body}");
        }
    }

    #[test]
    fn arrays_are_not_taken() {
        assert_eq!(code(r#"[{"query":"{a}"}]"#), Some(Code::BatchingDisabled));
        assert_eq!(code(" \n []"), Some(Code::BatchingDisabled));
    }

    #[test]
    fn deep_json_is_refused_not_walked() {
        let deep = |depth: usize| {
            format!(r#"{{"query":"a","variables":{{"v":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert_eq!(code(&deep(60)), None);
        assert_eq!(code(&deep(100_000)), Some(Code::BadRequest));
    }

    #[test]
    fn a_query_string_is_decoded() {
        let text = "query=%7B+a%28b%3A+%24v%29+%7D&variables=%7B%22v%22%3A%22%C3%A4%22%7D&operationName=";
        let read = Parameters::from_query_string(text).unwrap();
        assert_eq!(read.query, "{ a(b: $v) }");
        assert_eq!(read.operation_name, None);
        assert_eq!(read.variables, Variables::from_value(value!({"v": "ä"})));
        for text in [
            "",
            "query=%7",
            "query=%zz",
            "query=%ff",
            "query=a&query=b",
            "query=a&variables=x",
            "query=a&variables=[]",
        ] {
            let refusal = Parameters::from_query_string(text).unwrap_err();
            assert_eq!(refusal.code, Code::BadRequest, "{text}");
        }
    }
}
