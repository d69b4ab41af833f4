//! Errors as RFC 9457 problems, everywhere.
//!
//! Owns the body `application/problem+json` and the last layer around all routes, which gives each request its id and
//! turns into a problem whatever error comes out without being one: unknown paths, wrong methods, rejected bodies,
//! paths and queries, panics. Never tells the inside of a fault; that goes to the log under the request id.

use super::Api;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest text of a rejection that becomes a `detail`, in bytes.
const DETAIL_BYTES_MAX: usize = 4_096;
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// By this header a client names a request when it asks for help.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Why a request came to nothing. The last layer writes its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
}

/// The body of every error (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body9457 {
    /// `about:blank`: the status says what kind it is (RFC 9457 section 4.2.1).
    #[schema(example = "about:blank")]
    pub r#type: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    pub title: String,
    /// The status.
    #[schema(example = 404)]
    pub status: u16,
    /// What went wrong with this request.
    pub detail: String,
    /// Under this id the node's log tells more.
    pub request_id: String,
}

/// The errors every route may answer with.
#[derive(utoipa::IntoResponses)]
pub enum Problems {
    /// The path, the query or the body cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Body9457),
    /// No token, or not a known one.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Body9457),
    /// The role may not.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Body9457),
    /// There is no such thing, or none for this token's site.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Body9457),
    /// Too busy, or the store is away; ask again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Body9457),
}

impl Problem {
    /// A problem of this status.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { status, detail: detail.into() }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401.
    pub fn unauthorized() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "a bearer token of this node is needed")
    }

    /// 403.
    pub fn forbidden() -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "your role may not do this")
    }

    /// 404.
    pub fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "there is no such thing")
    }

    /// 503.
    pub fn busy(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// 500; the log tells more under the request id.
    pub(super) fn fault() -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a fault of ours")
    }

    /// What a panic becomes; the panic hook has logged it.
    pub(super) fn of_panic(_: Box<dyn std::any::Any + Send>) -> Response {
        Problem::fault().into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1: a 401 names the scheme.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            // RFC 6585 section 4: how long to wait. What is counted is counted by the minute.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The last layer: gives the request its id and writes the problem.
pub(super) async fn finish(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let id = api.request_id();
    let (method, path) = (request.method().clone(), shown(request.uri().path()).to_owned());
    let mut response = next.run(request).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        response = write(response, &id).await;
    }
    tracing::debug!(request_id = %id, %method, path, status = response.status().as_u16(), "answered");
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// As much of a path as a log may hold: a link's token is a right.
fn shown(path: &str) -> &str {
    if path.starts_with(crate::call::ahead::PATH) { crate::call::ahead::PATH } else { path }
}

/// Keeps status and headers (`Allow`, `Content-Range` …) and replaces the body.
async fn write(response: Response, id: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let detail = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem.detail,
        None => rejection(body).await,
    };
    let title = parts.status.canonical_reason().unwrap_or("Error").to_owned();
    let body = Body9457 {
        r#type: "about:blank".into(),
        status: parts.status.as_u16(),
        detail: if detail.is_empty() { title.clone() } else { detail.into_owned() },
        title,
        request_id: id.to_owned(),
    };
    for stale in [header::CONTENT_LENGTH, header::ETAG, header::LAST_MODIFIED] {
        parts.headers.remove(stale);
    }
    let mut response = (parts, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
    response
}

/// What axum's own rejections say in plain text.
async fn rejection(body: Body) -> Cow<'static, str> {
    let text = to_bytes(body, DETAIL_BYTES_MAX).await.unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned().into()
}
