//! Owns content negotiation: which of our three media types an `Accept` header asks for.

use axum::http::{HeaderMap, header};

/// What an answer may be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`: a well-formed request is always answered with 200.
    Json,
    /// `application/graphql-response+json`: the status says whether the request was executed.
    GraphqlResponse,
    /// `text/event-stream`: one event for each answer.
    EventStream,
}

impl Media {
    /// As the `Content-Type` of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Media::Json => "application/json; charset=utf-8",
            Media::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Media::EventStream => "text/event-stream",
        }
    }
}

/// What a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The media type it likes best.
    pub best: Media,
    /// Whether it names event streams, so that a subscription can be answered though it likes JSON better.
    pub streams: bool,
}

/// Reads `Accept`. Without one, and for `*/*`, JSON. `None` when the client takes nothing that we have.
pub fn negotiate(headers: &HeaderMap) -> Option<Accepted> {
    let mut best: Option<(u16, u8, Media)> = None;
    let (mut streams, mut any) = (false, false);
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().ok()?.split(',').filter(|range| !range.trim().is_empty()) {
            any = true;
            let Some((media, specificity, quality)) = read_range(range) else {
                continue;
            };
            streams |= media == Media::EventStream;
            // Of equal ones the more exact, then the first.
            if best.is_none_or(|(known, exact, _)| (quality, specificity) > (known, exact)) {
                best = Some((quality, specificity, media));
            }
        }
    }
    match best {
        Some((_, _, best)) => Some(Accepted { best, streams }),
        None if any => None,
        None => Some(Accepted { best: Media::Json, streams }),
    }
}

/// Media type, how exactly it was named, and its weight in thousandths. `None` when it is not ours or
/// refused.
fn read_range(range: &str) -> Option<(Media, u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let (media, specificity) = match name.as_str() {
        "application/json" => (Media::Json, 2),
        "application/graphql-response+json" => (Media::GraphqlResponse, 2),
        "text/event-stream" => (Media::EventStream, 2),
        "application/*" => (Media::Json, 1),
        "*/*" => (Media::Json, 0),
        _ => return None,
    };
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = weight.map_or(Some(1_000), thousandths)?;
    (quality > 0).then_some((media, specificity, quality))
}

/// A weight between 0 and 1, with three places at most.
pub fn thousandths(weight: &str) -> Option<u16> {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    if part.len() > 3 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    Some((whole * 1_000 + part).min(1_000))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn best(accept: &str) -> Option<Media> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        negotiate(&headers).map(|accepted| accepted.best)
    }

    #[test]
    fn the_highest_weight_wins() {
        use Media::{EventStream, GraphqlResponse, Json};
        for (accept, wanted) in [
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("application/json", Some(Json)),
            ("application/graphql-response+json", Some(GraphqlResponse)),
            ("application/graphql-response+json; charset=utf-8", Some(GraphqlResponse)),
            ("application/graphql-response+json, application/json;q=0.9", Some(GraphqlResponse)),
            ("application/json;q=0.9, application/graphql-response+json", Some(GraphqlResponse)),
            ("application/graphql-response+json;q=0.1, application/json", Some(Json)),
            ("*/*, application/graphql-response+json", Some(GraphqlResponse)),
            ("application/json, application/graphql-response+json", Some(Json)),
            ("text/event-stream", Some(EventStream)),
            ("text/html, */*;q=0.8", Some(Json)),
            ("", Some(Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=banana", None),
            ("multipart/mixed", None),
        ] {
            assert_eq!(best(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn a_client_that_names_streams_takes_them() {
        let accepted = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            negotiate(&headers).unwrap()
        };
        assert!(accepted("application/json, text/event-stream;q=0.5").streams);
        assert!(!accepted("application/json, text/event-stream;q=0").streams);
        assert!(!accepted("*/*").streams);
        assert_eq!(negotiate(&HeaderMap::new()).unwrap().best, Media::Json);
    }
}
