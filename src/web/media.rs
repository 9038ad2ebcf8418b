//! Owns content negotiation: which of our three media types an `Accept` header asks for.

use std::cmp::Reverse;

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

    /// How exactly a range names it; nothing when it does not.
    fn exactness(self, range: &str) -> Option<u8> {
        let (name, family) = match self {
            Media::Json => ("application/json", "application/*"),
            Media::GraphqlResponse => ("application/graphql-response+json", "application/*"),
            Media::EventStream => ("text/event-stream", "text/*"),
        };
        let named = [(name, 2), (family, 1), ("*/*", 0)];
        named.into_iter().find(|(name, _)| range.eq_ignore_ascii_case(name)).map(|(_, exactness)| exactness)
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

/// In the order in which we like them.
const ALL: [Media; 3] = [Media::Json, Media::GraphqlResponse, Media::EventStream];

/// What the range that fits a media type best says of it.
#[derive(Debug, Clone, Copy)]
struct Said {
    exactness: u8,
    /// In thousandths; 0 refuses it.
    weight: u16,
    place: usize,
}

/// Reads `Accept`. Without one, and for `*/*`, JSON. `None` when the client takes nothing that we have. Of each type the
/// most exact range decides; of types that are liked as much the one that is named more exactly, then the first.
pub fn negotiate(headers: &HeaderMap) -> Option<Accepted> {
    let mut said: [Option<Said>; 3] = [None; 3];
    let mut place = 0;
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().ok()?.split(',').filter(|range| !range.trim().is_empty()) {
            place += 1;
            let (name, weight) = read_range(range);
            for (media, said) in ALL.into_iter().zip(&mut said) {
                let Some(exactness) = media.exactness(name) else { continue };
                if said.is_none_or(|known| exactness > known.exactness) {
                    *said = Some(Said { exactness, weight, place });
                }
            }
        }
    }
    if place == 0 {
        return Some(Accepted { best: Media::Json, streams: false });
    }
    let taken = |said: Option<Said>| said.filter(|said| said.weight > 0);
    // Whoever takes anything does not ask for a stream by that.
    let streams = taken(said[2]).is_some_and(|said| said.exactness > 0);
    let liked = ALL.into_iter().zip(said).filter_map(|(media, said)| taken(said).map(|said| (media, said)));
    let best = liked.min_by_key(|(_, said)| (Reverse(said.weight), Reverse(said.exactness), said.place))?;
    Some(Accepted { best: best.0, streams })
}

/// The name of a range, and its weight in thousandths. One that cannot be read is no consent.
fn read_range(range: &str) -> (&str, u16) {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, weight.map_or(Some(1_000), thousandths).unwrap_or(0))
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
            ("application/json;q=0, */*", Some(GraphqlResponse)),
            ("application/json;q=0.1, */*", Some(GraphqlResponse)),
            ("*/*;q=0.1, application/json;q=0", Some(GraphqlResponse)),
            ("application/*;q=0, */*", Some(EventStream)),
            ("text/*", Some(EventStream)),
            ("*/*;q=0", None),
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
        assert!(accepted("application/json, text/*;q=0.5").streams);
        assert!(!accepted("*/*").streams);
        assert_eq!(negotiate(&HeaderMap::new()).unwrap().best, Media::Json);
    }
}
