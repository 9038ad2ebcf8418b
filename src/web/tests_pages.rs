//! The dashboard's pages from outside, over a few small files: which path gives what, in which coding, kept how long.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::pages::{File, SCREENS, is_page, routes};
use super::toy::open;
use super::transport::harden;

static FILES: [File; 4] = [
    File {
        path: "/assets/index-1.js",
        media_type: "text/javascript; charset=utf-8",
        tag: "f00",
        plain: b"plain script",
        brotli: Some(b"small"),
        gzip: Some(b"gzipped"),
    },
    File {
        path: "/favicon.svg",
        media_type: "image/svg+xml",
        tag: "fa7",
        plain: b"<svg/>",
        brotli: None,
        gzip: None,
    },
    File {
        path: "/index.html",
        media_type: "text/html; charset=utf-8",
        tag: "1dx",
        plain: b"the dashboard",
        brotli: Some(b"dash"),
        gzip: None,
    },
    File {
        path: "/playground.html",
        media_type: "text/html; charset=utf-8",
        tag: "91a",
        plain: b"the playground",
        brotli: None,
        gzip: None,
    },
];

async fn ask_of(files: &'static [File], line: &str, fields: &[(&str, &str)]) -> Response {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut router: Router = routes(files);
    let request = request.body(Body::empty()).expect("a request");
    let mut response = router.call(request).await.unwrap_or_else(|never| match never {});
    harden(&mut response);
    response
}

async fn ask(line: &str, fields: &[(&str, &str)]) -> Response {
    ask_of(&FILES, line, fields).await
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

async fn body(response: Response) -> String {
    let bytes = response.into_body().collect().await.expect("it is whole").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[tokio::test]
async fn every_address_of_the_dashboard_gives_its_page_and_no_other_does() {
    for path in
        ["/", "/jobs", "/jobs/", "/jobs/job_12", "/tasks/backup.nightly", "/tasks/a%2Fb?tab=2", "/system"]
    {
        let response = ask(&format!("GET {path}"), &[]).await;
        assert_eq!(
            (response.status(), field(&response, "cache-control")),
            (StatusCode::OK, "no-cache"),
            "{path}"
        );
        assert_eq!(body(response).await, "the dashboard", "{path}");
    }
    assert_eq!(body(ask("GET /playground", &[]).await).await, "the playground");
    for path in [
        "/index.html",
        "/playground.html",
        "/playground/",
        "/jobsite",
        "/Jobs",
        "//jobs",
        "/assets/",
        "/assets/index-2.js",
        "/assets/../favicon.svg",
        "/dashboard",
    ] {
        assert_eq!(ask(&format!("GET {path}"), &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for path in ["/", "/jobs/job_12", "/playground", "/assets/index-1.js"] {
            let response = ask(&format!("{method} {path}"), &[]).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(field(&response, "allow"), "GET,HEAD");
        }
    }
}

#[test]
fn a_link_leads_to_a_page_exactly_where_one_is_served() {
    for screen in SCREENS {
        assert!(is_page(&format!("/{screen}")) && is_page(&format!("/{screen}/x/y")), "{screen}");
        assert!(!is_page(screen) && !is_page(&format!("//{screen}")) && !is_page(&format!("/{screen}x")));
    }
    assert!(is_page("/") && is_page("/playground"));
    for path in
        ["", "//", "/playground/", "/assets/index-1.js", "/graphql", "/logs/1", "/metrics", "/healthz"]
    {
        assert!(!is_page(path), "{path}");
    }
}

#[tokio::test]
async fn a_file_comes_in_the_smallest_coding_that_is_taken() {
    for (accepted, coding, text) in [
        ("gzip, deflate, br, zstd", "br", "small"),
        ("gzip", "gzip", "gzipped"),
        ("deflate", "", "plain script"),
        ("", "", "plain script"),
    ] {
        let response = ask("GET /assets/index-1.js", &[("accept-encoding", accepted)]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(field(&response, "content-encoding"), coding, "{accepted}");
        assert_eq!(field(&response, "content-type"), "text/javascript; charset=utf-8");
        assert_eq!(field(&response, "content-length"), text.len().to_string());
        assert_eq!(field(&response, "vary"), "accept-encoding");
        assert_eq!(body(response).await, text, "{accepted}");
    }
    let picture = ask("GET /favicon.svg", &[("accept-encoding", "br")]).await;
    assert_eq!((field(&picture, "content-encoding"), field(&picture, "cache-control")), ("", "no-cache"));
    let refused = ask("GET /favicon.svg", &[("accept-encoding", "br, identity;q=0")]).await;
    assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
    let head = ask("HEAD /assets/index-1.js", &[("accept-encoding", "br")]).await;
    assert_eq!((head.status(), field(&head, "content-length")), (StatusCode::OK, "5"));
    assert_eq!(body(head).await, "");
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let first = ask("GET /jobs", &[("accept-encoding", "br")]).await;
    let tag = field(&first, "etag").to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let fields = [("accept-encoding", "br"), ("if-none-match", known.as_str())];
        let again = ask("GET /jobs/job_1", &fields).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!((field(&again, "etag"), field(&again, "cache-control")), (tag.as_str(), "no-cache"));
        assert!(again.headers().get("content-length").is_none(), "it would be the length of what it has");
        assert_eq!(body(again).await, "");
    }
    // The same file in another coding is other bytes.
    for fields in [
        [("accept-encoding", "gzip"), ("if-none-match", tag.as_str())],
        [("accept-encoding", "br"), ("if-none-match", "\"1d\"")],
    ] {
        assert_eq!(ask("GET /jobs", &fields).await.status(), StatusCode::OK, "{fields:?}");
    }
}

#[tokio::test]
async fn hashed_files_are_kept_for_ever_and_everything_is_hardened() {
    let script = ask("GET /assets/index-1.js", &[]).await;
    assert_eq!(field(&script, "cache-control"), "public, max-age=31536000, immutable");
    for response in [script, ask("GET /", &[]).await, ask("GET /playground", &[]).await] {
        let policy = field(&response, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(policy.ends_with("frame-ancestors 'none'") && !policy.contains("unsafe-eval"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(field(&response, name), value);
        }
    }
}

#[tokio::test]
async fn without_the_dashboard_its_addresses_say_how_to_get_it() {
    for path in ["/", "/jobs/job_12"] {
        let response = ask_of(&[], &format!("GET {path}"), &[]).await;
        assert_eq!((response.status(), field(&response, "cache-control")), (StatusCode::OK, "no-store"));
        assert!(
            field(&response, "content-security-policy").starts_with("default-src 'none'; frame-ancestors")
        );
        let page = body(response).await;
        assert!(page.contains("built without the dashboard: install Node.js 20.19"), "{page}");
    }
    assert_eq!(ask_of(&[], "GET /playground", &[]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_door_serves_pages_without_a_token_under_our_names_only() {
    let door = open().await;
    for path in ["/", "/jobs/job_12"] {
        let ours = format!("GET {path} HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n");
        let page = door.raw(&ours).await;
        assert!(page.status == 200 && page.body.contains("Beadle"), "{path}: {}", page.body);
        assert!(page.head.contains("content-type: text/html; charset=utf-8"), "{}", page.head);
        let foreign = ours.replace("HOST", "evil.example");
        assert_eq!(door.raw(&foreign).await.status, 421, "{path}");
        let framed = ours.replace("\r\n\r\n", "\r\norigin: http://evil.example\r\n\r\n");
        assert_eq!(door.raw(&framed).await.status, 403, "{path}");
    }
}
