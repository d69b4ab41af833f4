//! The page at `/`: plain files compiled in, for everybody. What it shows it asks of the API with the visitor's token.
//!
//! Owns the files' headers: charset, a policy without inline code, and entity tags, so that an unchanged file costs a
//! 304. Knows nothing of telephony.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// Everything from here, nothing inline; recordings are blobs. Nobody may frame the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src blob:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml; charset=utf-8";

/// Path, media type, content.
const FILES: [(&str, &str, &str); 10] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/page/page.css", CSS, include_str!("page/page.css")),
    ("/page/main.js", SCRIPT, include_str!("page/main.js")),
    ("/page/board.js", SCRIPT, include_str!("page/board.js")),
    ("/page/chart.js", SCRIPT, include_str!("page/chart.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/events.js", SCRIPT, include_str!("page/events.js")),
    ("/page/player.js", SCRIPT, include_str!("page/player.js")),
    ("/page/words.js", SCRIPT, include_str!("page/words.js")),
];

/// The routes of the page's files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        let tag = format!("\"{}\"", hex::encode(&Sha256::digest(content)[..16]));
        let tag = HeaderValue::try_from(tag).expect("hexadecimal digits");
        router.route(path, get(async move |request: Request| answer(&request, kind, content, tag.clone())))
    })
}

fn answer(request: &Request, kind: &'static str, content: &'static str, tag: HeaderValue) -> Response {
    let fresh = super::recordings::is_fresh(request.headers(), Some(&tag));
    let mut response = if fresh { StatusCode::NOT_MODIFIED.into_response() } else { content.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    // Kept, but asked for again each time: a new version of the engine brings all of its files at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt;

    async fn ask(path: &str, known: Option<&HeaderValue>) -> Response {
        let mut request = Request::builder().uri(path);
        if let Some(tag) = known {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        routes::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn every_file_has_its_type_policy_and_tag() {
        for (path, kind, content) in FILES {
            let response = ask(path, None).await;
            let header = |name| response.headers().get(name).cloned().unwrap();
            assert_eq!((response.status(), header(header::CONTENT_TYPE).to_str().unwrap()), (StatusCode::OK, kind));
            assert!(kind.ends_with("; charset=utf-8"), "{path}");
            assert_eq!(header(header::CACHE_CONTROL), "no-cache");
            let policy = header(header::CONTENT_SECURITY_POLICY);
            let policy = policy.to_str().unwrap().to_owned();
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            let tag = header(header::ETAG);
            assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap(), content);
            let again = ask(path, Some(&tag)).await;
            assert_eq!((again.status(), again.headers().get(header::ETAG)), (StatusCode::NOT_MODIFIED, Some(&tag)));
            assert!(to_bytes(again.into_body(), usize::MAX).await.unwrap().is_empty());
        }
    }

    /// What the policy would refuse, the files must not hold; and each file that one names is served.
    #[test]
    fn the_files_keep_their_own_policy_and_name_each_other() {
        for (path, kind, content) in FILES {
            for forbidden in ["style=\"", "onclick", "javascript:", "innerHTML", "eval(", "http://", "https://"] {
                let allowed = content.replace("http://www.w3.org/2000/svg", "");
                assert!(!allowed.contains(forbidden), "{path}: {forbidden}");
            }
            let named = content.split(['"', '\'']).filter_map(|word| match kind {
                SCRIPT => word.strip_prefix("./").map(|name| format!("/page/{name}")),
                _ => word.starts_with("/page/").then(|| word.to_owned()),
            });
            for name in named {
                assert!(FILES.iter().any(|(path, ..)| *path == name), "{path} names {name}");
            }
        }
    }

    #[test]
    fn both_languages_have_every_word() {
        let words = FILES.iter().find(|(path, ..)| *path == "/page/words.js").unwrap().2;
        let (zh, en) = words.split_once("\n  en: {").unwrap();
        let names = |text: &str| {
            let found = text.match_indices(": \"").map(|(at, _)| {
                let start = text[..at].rfind([' ', '\n', '{']).map_or(0, |space| space + 1);
                text[start..at].to_owned()
            });
            found.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(zh), names(en.split("\n};").next().unwrap()));
    }
}
