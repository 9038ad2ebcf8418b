//! Owns the dashboard's files, which stand in the program: which path gives which of them, in which coding, and what a
//! browser may do with them. They are the same for everybody and hold no secret: no token is asked for. It must never
//! say anything about the daemon.
//!
//! Each file is kept as it is and compressed. Nothing is compressed or unpacked while it is served, and whoever takes no
//! coding gets the plain bytes; those that nobody asks for cost no memory, as every page of the program.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get};

use super::coding::{Coding, choose};
use super::errors::{Code, Refusal};
use super::media::Media;
use super::transport::refused;

/// A file of the dashboard. The table of them is written by `build/table.rs`.
#[derive(Debug)]
pub struct File {
    /// `/assets/index-4f2a.js`, or `/index.html`.
    pub path: &'static str,
    /// As `Content-Type`.
    pub media_type: &'static str,
    /// Tells this content from any other.
    pub tag: &'static str,
    /// Its bytes.
    pub plain: &'static [u8],
    /// The same in brotli, where that is worth it.
    pub brotli: Option<&'static [u8]>,
    /// The same in gzip, where that is worth it.
    pub gzip: Option<&'static [u8]>,
}

/// What was built into this program; empty when there was no Node.js to build it.
pub const EMBEDDED: &[File] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// The dashboard's page.
const INDEX: &str = "/index.html";
/// The page to try the API on, and its path.
const PLAYGROUND: (&str, &str) = ("/playground.html", "/playground");
/// What the paths within the dashboard begin with; the page itself reads the rest. Its routes say the same.
pub const SCREENS: [&str; 8] =
    ["jobs", "tasks", "schedules", "queues", "workers", "incidents", "access", "system"];
/// Files there have their content's digest in their names: they never change.
const HASHED: &str = "/assets/";

/// What a page may do: load our files, and talk to us alone. Styles in attributes are what charts and the playground's
/// editor need. The dashboard's own preview (`dashboard/vite.config.ts`) says the same.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// The page of a program without the dashboard.
const START_PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Beadle</title>\n\
<h1>Beadle</h1>\n<p>A task daemon you talk to in GraphQL. The API is at <code>/graphql</code> (POST, event streams, \
<code>graphql-transport-ws</code>), its schema at <code>/schema.graphql</code>. Both need \
<code>Authorization: Bearer TOKEN</code>.</p>\n<p>This program was built without the dashboard: install Node.js 20.19 \
or newer with npm and build again.</p>\n</html>\n";

/// Whether a page is at this path: one that somebody may follow a link to.
pub fn is_page(path: &str) -> bool {
    let first = path.strip_prefix('/').and_then(|rest| rest.split('/').next());
    path == "/" || path == PLAYGROUND.1 || first.is_some_and(|first| SCREENS.contains(&first))
}

/// The paths of these files. Each is exact, but those within the dashboard.
pub fn routes<S: Clone + Send + Sync + 'static>(files: &'static [File]) -> Router<S> {
    let find = |path: &str| files.iter().find(|file| file.path == path);
    let index = match find(INDEX) {
        Some(file) => serve(file),
        None => get(async || start_page()),
    };
    let mut router = Router::new().route("/", index.clone());
    for screen in SCREENS {
        for rest in ["", "/", "/{*rest}"] {
            router = router.route(&format!("/{screen}{rest}"), index.clone());
        }
    }
    if let Some(file) = find(PLAYGROUND.0) {
        router = router.route(PLAYGROUND.1, serve(file));
    }
    let is_page = |file: &&File| file.path == INDEX || file.path == PLAYGROUND.0;
    files
        .iter()
        .filter(|file| !is_page(file))
        .fold(router, |router, file| router.route(file.path, serve(file)))
}

fn serve<S: Clone + Send + Sync + 'static>(file: &'static File) -> MethodRouter<S> {
    get(move |headers: HeaderMap| async move { file.answer(&headers) })
}

fn start_page() -> Response {
    let mut response = Response::new(Body::from(START_PAGE));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

impl File {
    fn bytes(&self, coding: Coding) -> Option<&'static [u8]> {
        match coding {
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
            Coding::Identity => Some(self.plain),
        }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let coding = choose(asked, |coding| self.bytes(coding).is_some());
        let Some((coding, bytes)) = coding.and_then(|coding| Some((coding, self.bytes(coding)?))) else {
            let message = "there is no such coding of this file: take br, gzip or identity";
            let refusal = Refusal::new(Code::BadRequest, message);
            return refused(refusal.with_status(StatusCode::NOT_ACCEPTABLE), Media::Json);
        };
        // Another coding is another representation, which needs another tag.
        let tag = match coding.name() {
            Some(name) => format!("\"{}-{name}\"", self.tag),
            None => format!("\"{}\"", self.tag),
        };
        let mut response = if is_known(asked, &tag) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(Body::from(Bytes::from_static(bytes)));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
            if let Some(name) = coding.name() {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
            }
            response
        };
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        let keep =
            if self.path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
        for (name, value) in [
            (header::CACHE_CONTROL, keep),
            (header::VARY, "accept-encoding"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // A worker obeys what its own file came with.
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        response
    }
}

/// Whether the client has these very bytes.
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let values = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
