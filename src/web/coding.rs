//! Owns content codings: which of those that we have a client takes. It never compresses anything.

use axum::http::{HeaderMap, header};

use super::media::thousandths;

/// How the bytes of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
    /// As they are.
    Identity,
}

impl Coding {
    /// From the smallest on.
    pub const ALL: [Coding; 3] = [Coding::Brotli, Coding::Gzip, Coding::Identity];

    /// As `Content-Encoding`; nothing for bytes as they are.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Coding::Brotli => Some("br"),
            Coding::Gzip => Some("gzip"),
            Coding::Identity => None,
        }
    }
}

/// Reads `Accept-Encoding`: the coding of the highest weight, of equal ones the smallest. Without the header, the bytes as
/// they are. `None` when the client takes nothing that we have.
pub fn choose(headers: &HeaderMap, has: impl Fn(Coding) -> bool) -> Option<Coding> {
    let weights = Weights::read(headers);
    let mut best: Option<(u16, Coding)> = None;
    for coding in Coding::ALL.into_iter().filter(|coding| has(*coding)) {
        let weight = weights.of(coding);
        if weight > 0 && best.is_none_or(|(known, _)| weight > known) {
            best = Some((weight, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// In thousandths; `None` where nothing is said.
#[derive(Debug, Default)]
struct Weights {
    brotli: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    others: Option<u16>,
}

impl Weights {
    fn read(headers: &HeaderMap) -> Weights {
        let mut weights = Weights::default();
        let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let said = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            // A weight that cannot be read is no consent.
            let weight = Some(said.map_or(Some(1_000), thousandths).unwrap_or(0));
            match name.as_str() {
                "br" => weights.brotli = weight,
                "gzip" | "x-gzip" => weights.gzip = weight,
                "identity" => weights.identity = weight,
                "*" => weights.others = weight,
                _ => {}
            }
        }
        weights
    }

    fn of(&self, coding: Coding) -> u16 {
        match coding {
            Coding::Brotli => self.brotli.or(self.others).unwrap_or(0),
            Coding::Gzip => self.gzip.or(self.others).unwrap_or(0),
            // Taken unless refused, but liked least.
            Coding::Identity => self.identity.or(self.others).unwrap_or(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn chosen(accepted: &str, has: &[Coding]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(accepted).unwrap());
        choose(&headers, |coding| has.contains(&coding))
    }

    #[test]
    fn the_highest_weight_wins_and_of_equal_ones_the_smallest() {
        use Coding::{Brotli, Gzip, Identity};
        for (accepted, wanted) in [
            ("gzip, deflate, br, zstd", Some(Brotli)),
            ("gzip, deflate", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("GZIP;Q=0.5", Some(Gzip)),
            ("br;q=0.5, gzip", Some(Gzip)),
            ("br;q=0, gzip;q=0", Some(Identity)),
            ("br;q=banana", Some(Identity)),
            ("gzip;q=0.5, identity", Some(Identity)),
            ("*", Some(Brotli)),
            ("*;q=0.1, br;q=0", Some(Gzip)),
            ("*;q=0, gzip", Some(Gzip)),
            ("deflate, zstd", Some(Identity)),
            ("", Some(Identity)),
            ("*;q=0", None),
            ("identity;q=0, deflate", None),
        ] {
            assert_eq!(chosen(accepted, &Coding::ALL), wanted, "{accepted}");
        }
        assert_eq!(choose(&HeaderMap::new(), |_| true), Some(Identity));
    }

    #[test]
    fn what_there_is_not_is_not_chosen() {
        use Coding::{Gzip, Identity};
        assert_eq!(chosen("br, gzip", &[Gzip, Identity]), Some(Gzip));
        assert_eq!(chosen("br, gzip", &[Identity]), Some(Identity));
        assert_eq!(chosen("br, identity;q=0", &[Identity]), None);
    }
}
