//! Owns how instants, 64-bit integers and JSON look in the API. `Duration` lives with `domain::duration`.
//! It never gives a value a meaning: ranges are the rule of the noun that holds it.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

use crate::base::clock::Timestamp;

/// RFC 3339 in UTC: 2026-01-31T12:00:00.000Z.
#[Scalar(name = "DateTime", specified_by_url = "https://scalars.graphql.org/andimarek/date-time.html")]
impl ScalarType for Timestamp {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Timestamp::parse(&text).ok_or_else(|| {
                InputValueError::custom(format!(
                    "{text:?} is not an instant between 1970 and 9999: write RFC 3339 with an offset, \
                     2026-01-31T12:00:00Z."
                ))
            }),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// A whole number of up to 64 bits, which does not fit GraphQL's `Int`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct BigInt(pub i64);

/// A 64-bit integer as a decimal string.
#[Scalar(name = "BigInt")]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        let read = match &value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_i64(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        read.map(BigInt).ok_or_else(|| {
            InputValueError::custom(format!("{value} is not a whole number of 64 bits: write \"123\"."))
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Any JSON value, kept as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Json(pub serde_json::Value);

/// Any JSON value.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        value.into_json().map(Json).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        // Every JSON value is a GraphQL value: the conversion only fails by its general signature.
        Value::from_json(self.0.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::{EmptyMutation, EmptySubscription, Object, SDLExportOptions, Schema, value};
    use serde_json::json;

    struct Query;

    #[Object]
    impl Query {
        async fn at(&self, at: Timestamp) -> Timestamp {
            at
        }
        async fn big(&self, big: BigInt) -> BigInt {
            big
        }
        async fn json(&self, json: Option<Json>) -> Option<Json> {
            json
        }
        async fn span(&self, span: crate::domain::duration::Span) -> crate::domain::duration::Span {
            span
        }
    }

    fn schema() -> Schema<Query, EmptyMutation, EmptySubscription> {
        Schema::new(Query, EmptyMutation, EmptySubscription)
    }

    #[test]
    fn the_schema_names_and_describes_them() {
        let sdl = schema().sdl_with_options(SDLExportOptions::new().include_specified_by());
        for part in [
            "\"\"\"\nA length of time. Written out as ISO 8601 (PT1M30S); also read in the short form 90s, 1m30s, 250ms.\n\"\"\"\nscalar Duration",
            "\"\"\"\nRFC 3339 in UTC: 2026-01-31T12:00:00.000Z.\n\"\"\"\nscalar DateTime @specifiedBy(url: \"https://scalars.graphql.org/andimarek/date-time.html\")",
            "\"\"\"\nAny JSON value.\n\"\"\"\nscalar JSON",
            "\"\"\"\nA 64-bit integer as a decimal string.\n\"\"\"\nscalar BigInt",
        ] {
            assert!(sdl.contains(part), "{part}\nis not in\n{sdl}");
        }
    }

    #[tokio::test]
    async fn literals_pass_through_a_request() {
        let response = schema()
            .execute(
                "{ at(at: \"2026-01-31T13:00:00.5+01:00\") big(big: \"-9223372036854775808\") small: big(big: 7) \
                 span(span: \"90s\") json(json: {a: [1, 2.5, null, \"x\", true]}) none: json(json: null) }",
            )
            .await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        assert_eq!(
            response.data,
            value!({
                "at": "2026-01-31T12:00:00.500Z", "big": "-9223372036854775808", "small": "7",
                "span": "PT1M30S", "json": {"a": [1, 2.5, null, "x", true]}, "none": null
            })
        );
    }

    #[tokio::test]
    async fn a_bad_literal_says_what_is_accepted() {
        for (query, part) in [
            ("{ at(at: \"yesterday\") }", "2026-01-31T12:00:00Z"),
            ("{ at(at: \"1969-12-31T23:59:59Z\") }", "between 1970 and 9999"),
            ("{ at(at: 5) }", "DateTime"),
            ("{ big(big: \"9223372036854775808\") }", "64 bits"),
            ("{ big(big: 9223372036854775808) }", "64 bits"),
            ("{ big(big: 1.5) }", "64 bits"),
            ("{ big(big: \"\") }", "64 bits"),
            ("{ big(big: true) }", "BigInt"),
            ("{ span(span: \"5\") }", "1m30s"),
            ("{ span(span: 5) }", "Duration"),
        ] {
            let response = schema().execute(query).await;
            let message = &response.errors.first().expect(query).message;
            assert!(message.contains(part), "{query}: {message}");
        }
    }

    #[test]
    fn json_keeps_its_value_both_ways() {
        for json in
            [json!(null), json!(1), json!(-1.5), json!("é"), json!([[], {}]), json!({"b": 1, "a": [true]})]
        {
            let value = ScalarType::to_value(&Json(json.clone()));
            assert_eq!(<Json as ScalarType>::parse(value).unwrap().0, json);
            assert_eq!(serde_json::to_value(Json(json.clone())).unwrap(), json);
        }
    }
}
