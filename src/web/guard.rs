//! Owns the question "may this request come in at all", asked of its head alone and on every path: host,
//! origin, content type, token. Allow lists only: what is not known to be ours is refused. It must never look
//! at the body and never answer differently for a path.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use super::errors::{Code, Refusal};
use super::limits::TOKEN_BYTES_MAX;
use super::pages::is_page;
use crate::domain::trace::TraceContext;

/// Which names this daemon answers to and which pages may talk to it.
#[derive(Debug, Clone)]
pub struct Gate {
    hosts: Vec<String>,
    own_origins: Vec<String>,
    listed_origins: Vec<String>,
}

impl Gate {
    /// The loopback names and the address itself, with its port, and what the configuration adds. An added host without a
    /// port is also taken with ours. An address as a name can be no other page's.
    pub fn new(address: SocketAddr, allowed_hosts: &[String], allowed_origins: &[String]) -> Gate {
        let port = address.port();
        let mut names = ["127.0.0.1", "localhost", "[::1]"].map(str::to_owned).to_vec();
        let own = match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        if !address.ip().is_unspecified() && !names.contains(&own) {
            names.push(own);
        }
        let mut hosts: Vec<String> = names.iter().map(|name| format!("{name}:{port}")).collect();
        if port == 80 {
            hosts.extend(names);
        }
        let mut own_origins: Vec<String> = hosts.iter().map(|host| format!("http://{host}")).collect();
        for host in allowed_hosts {
            let host = host.to_ascii_lowercase();
            let with_port = format!("{host}:{port}");
            for host in [host, with_port] {
                own_origins.extend(["http", "https"].map(|scheme| format!("{scheme}://{host}")));
                hosts.push(host);
            }
        }
        Gate {
            hosts,
            own_origins,
            listed_origins: allowed_origins
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        }
    }

    /// Refuses a foreign `Host` (DNS rebinding) and anything a foreign page makes a browser send.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = only(headers, header::HOST).map(str::to_ascii_lowercase);
        let target = uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
        let known = |name: &str| self.hosts.iter().any(|host| host == name);
        if !host.as_deref().is_some_and(known) || !target.as_deref().is_none_or(known) {
            let message = "this host name is not served here: use 127.0.0.1 with the port, or allow the name";
            return Err(Refusal::new(Code::BadRequest, message).with_status(StatusCode::MISDIRECTED_REQUEST));
        }
        let foreign = || Refusal::new(Code::Forbidden, "requests from other web pages are not taken");
        let listed = match headers.get_all(header::ORIGIN).iter().count() {
            0 => false,
            1 => {
                let origin = only(headers, header::ORIGIN).ok_or_else(foreign)?.to_ascii_lowercase();
                let listed = self.listed_origins.contains(&origin);
                if !listed && !self.own_origins.contains(&origin) {
                    return Err(foreign());
                }
                listed
            }
            _ => return Err(foreign()),
        };
        // Following a link to a page is the one thing another site may make a browser do.
        let is_link = is_page(uri.path()) && !headers.contains_key(header::ORIGIN);
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        match site {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) if listed || is_link => Ok(()),
            Some(_) => Err(foreign()),
        }
    }
}

impl Gate {
    /// The origin of a page elsewhere that may ask us, as it sent it.
    pub fn listed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = only(headers, header::ORIGIN)?.to_ascii_lowercase();
        self.listed_origins.contains(&origin).then(|| headers.get(header::ORIGIN)).flatten()
    }
}

/// The header's value when it is there exactly once and is text.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Refuses every body that is not declared as JSON in UTF-8; a browser cannot send that type to a stranger
/// unasked.
pub fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let declared = only(headers, header::CONTENT_TYPE).unwrap_or_default();
    let (media, parameters) = declared.split_once(';').unwrap_or((declared, ""));
    let charset = parameters.trim().to_ascii_lowercase();
    let in_utf8 = matches!(charset.as_str(), "" | "charset=utf-8" | "charset=\"utf-8\"" | "charset=utf8");
    if media.trim().eq_ignore_ascii_case("application/json") && in_utf8 {
        return Ok(());
    }
    let message = "send the body as `Content-Type: application/json`";
    Err(Refusal::new(Code::BadRequest, message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// The token of `Authorization: Bearer TOKEN`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    bearer_of(only(headers, header::AUTHORIZATION)?)
}

/// The token of `Bearer TOKEN`.
pub fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let is_token = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    (scheme.eq_ignore_ascii_case("bearer") && is_token).then_some(token)
}

/// The span that a request belongs to. One that is not well-formed is overlooked, as the standard asks.
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    traceparent_of(only(headers, HeaderName::from_static("traceparent"))?)
}

/// The same of its value alone.
pub fn traceparent_of(value: &str) -> Option<String> {
    TraceContext::parse(value.trim()).map(|trace| trace.to_string())
}

/// The refusal of a request without a known token.
pub fn unauthenticated() -> Refusal {
    Refusal::new(Code::Unauthenticated, "a known token is needed: send `Authorization: Bearer TOKEN`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn status(uri: &str, pairs: &[(&'static str, &str)]) -> u16 {
        let gate = Gate::new(
            ([127, 0, 0, 1], 7878).into(),
            &["beadle.lan".to_owned()],
            &["http://dev.lan:5173/".to_owned()],
        );
        let uri: Uri = uri.parse().unwrap();
        gate.admit(&uri, &headers(pairs)).err().map_or(200, |refusal| refusal.status.as_u16())
    }

    #[test]
    fn only_our_names_are_served() {
        for host in [
            "127.0.0.1:7878",
            "localhost:7878",
            "LocalHost:7878",
            "[::1]:7878",
            "beadle.lan",
            "beadle.lan:7878",
        ] {
            assert_eq!(status("/graphql", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7878",
            "localhost",
            "localhost:80",
            "localhost:7878.evil.example",
            "127.0.0.1.evil.example:7878",
            "localhost.:7878",
            "0.0.0.0:7878",
            "",
            "user@localhost:7878",
        ] {
            assert_eq!(status("/healthz", &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status("/", &[]), 421);
        assert_eq!(status("/", &[("host", "localhost:7878"), ("host", "evil.example")]), 421);
        assert_eq!(status("http://evil.example/graphql", &[("host", "localhost:7878")]), 421);
        assert_eq!(status("http://localhost:7878/graphql", &[("host", "localhost:7878")]), 200);
        let forwarded = [("host", "evil.example"), ("x-forwarded-host", "localhost:7878")];
        assert_eq!(status("/graphql", &forwarded), 421);
    }

    #[test]
    fn the_address_that_it_listens_at_is_one_of_its_names() {
        for (address, host, wanted) in [
            ("10.0.0.5:7878", "10.0.0.5:7878", true),
            ("127.0.0.2:7878", "127.0.0.2:7878", true),
            ("[fd00::5]:7878", "[fd00::5]:7878", true),
            ("10.0.0.5:80", "10.0.0.5", true),
            ("10.0.0.5:7878", "10.0.0.6:7878", false),
            ("10.0.0.5:7878", "10.0.0.5", false),
            ("0.0.0.0:7878", "0.0.0.0:7878", false),
            ("[::]:7878", "[::]:7878", false),
        ] {
            let gate = Gate::new(address.parse().unwrap(), &[], &[]);
            let origin = format!("http://{host}");
            let given = headers(&[("host", host), ("origin", &origin)]);
            assert_eq!(gate.admit(&Uri::from_static("/graphql"), &given).is_ok(), wanted, "{address} {host}");
        }
    }

    #[test]
    fn only_our_pages_may_ask() {
        let from = |origin| status("/graphql", &[("host", "localhost:7878"), ("origin", origin)]);
        for origin in [
            "http://localhost:7878",
            "http://127.0.0.1:7878",
            "http://[::1]:7878",
            "https://beadle.lan",
            "http://dev.lan:5173",
        ] {
            assert_eq!(from(origin), 200, "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://localhost",
            "http://localhost:3000",
            "https://localhost:7878",
            "http://localhost:7878.evil.example",
            "http://localhost:7878/",
            "file://",
            "http://dev.lan",
        ] {
            assert_eq!(from(origin), 403, "{origin}");
        }
    }

    #[test]
    fn what_the_browser_calls_foreign_is_refused() {
        let from = |path, site| status(path, &[("host", "localhost:7878"), ("sec-fetch-site", site)]);
        assert_eq!(from("/graphql", "same-origin"), 200);
        assert_eq!(from("/graphql", "none"), 200);
        for site in ["cross-site", "same-site", "nonsense", ""] {
            assert_eq!(from("/graphql", site), 403, "{site}");
            for path in ["/", "/playground", "/jobs", "/jobs/job_12"] {
                assert_eq!(from(path, site), 200, "{path} {site}");
            }
            for path in ["/assets/index.js", "/jobsite", "//jobs", "/logs/12", "/metrics"] {
                assert_eq!(from(path, site), 403, "{path} {site}");
            }
        }
        let dev =
            [("host", "localhost:7878"), ("origin", "http://dev.lan:5173"), ("sec-fetch-site", "cross-site")];
        assert_eq!(status("/graphql", &dev), 200);
        let own = [
            ("host", "localhost:7878"),
            ("origin", "http://localhost:7878"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(status("/graphql", &own), 403);
    }

    #[test]
    fn only_json_is_a_body() {
        let taken = |value| is_json(&headers(&[("content-type", value)])).is_ok();
        for value in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
        ] {
            assert!(taken(value), "{value}");
        }
        for value in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "text/plain; application/json",
            "application/json, text/plain",
            "application/json; charset=utf-16",
            "application/json; x=y",
            "application/graphql",
            "",
        ] {
            assert!(!taken(value), "{value}");
        }
        assert!(is_json(&HeaderMap::new()).is_err());
        let twice = [("content-type", "application/json"), ("content-type", "application/json")];
        assert!(is_json(&headers(&twice)).is_err());
    }

    #[test]
    fn a_token_is_a_bearer_token() {
        let token = |value| bearer(&headers(&[("authorization", value)])).map(str::to_owned);
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer abc").as_deref(), Some("abc"));
        for value in
            ["abc", "Bearer", "Bearer ", "Basic abc", "Bearerabc", &format!("Bearer {}", "a".repeat(600))]
        {
            assert_eq!(token(value), None, "{value}");
        }
        assert_eq!(bearer(&headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")])), None);
    }
}
