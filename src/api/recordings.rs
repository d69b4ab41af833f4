//! `/recordings`: what was recorded, and its sound. Every read is told to the audit.
//!
//! Sound is served from its file with ranges (RFC 9110 section 14), so that a player can seek and knows the length.
//! The entity tag is the SHA-256 of the finished file; a file still being written has none and is served as far as it
//! is. A recording whose file is gone is served from the archive, as it is kept there.

use super::Api;
use super::archived;
use super::auth::{Caller, Site};
use super::may::{Action, Object};
use super::paging::{Paged, id, optional_id, page};
use super::problem::{Problem, Problems};
use super::{SiteQuery, audit_name};
use crate::base::RecordingId;
use crate::store::recordings::RecordingRow;
use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;
use tower_http::services::ServeFile;
use utoipa::IntoParams;

/// Which recordings.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecordingsQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// Of this contact.
    pub contact: Option<String>,
    /// `next` of the page before.
    pub before: Option<String>,
    /// Most items, 1 to 500.
    pub limit: Option<u32>,
}

/// Recordings, newest first.
#[utoipa::path(get, path = "/recordings", tag = "recordings", params(RecordingsQuery), security(("bearer" = [])),
    responses((status = 200, body = Paged<RecordingRow>), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<RecordingsQuery>,
) -> Result<Json<Paged<RecordingRow>>, Problem> {
    let (site, _) = caller.one_site(Action::RecordingRead, query.site.as_deref())?;
    let page = page(query.before.as_deref(), query.limit)?;
    let contact = optional_id(query.contact.as_deref(), "contact")?;
    let rows = api.node.store.site(&site.code).recordings(contact, page).await?;
    caller.done(site.id, Action::RecordingRead, query.contact.as_deref().unwrap_or("list"));
    Ok(Json(Paged::new(rows, page.limit, |row| &row.id)))
}

/// What is known of one recording.
#[utoipa::path(get, path = "/recordings/{id}", tag = "recordings", params(("id" = String, Path), SiteQuery),
    security(("bearer" = [])), responses((status = 200, body = RecordingRow), Problems))]
pub async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(recording): Path<String>,
    query: Query<SiteQuery>,
) -> Result<Json<RecordingRow>, Problem> {
    let (_, row) = read(&api, &caller, &recording, &query).await?;
    Ok(Json(row))
}

/// The sound of one recording: WAV, or what the archive keeps (`audio/ogg`: Ogg Opus). Knows `Range`, `If-Range`,
/// `If-None-Match` and `HEAD`.
#[utoipa::path(get, path = "/recordings/{id}/audio", tag = "recordings", params(("id" = String, Path), SiteQuery),
    security(("bearer" = [])),
    responses((status = 200, description = "the whole file", body = Vec<u8>, content_type = "audio/wav"),
        (status = 206, description = "the range asked for", body = Vec<u8>, content_type = "audio/wav"),
        (status = 304, description = "as known"),
        (status = 410, description = "neither here nor in the archive any more",
            content_type = "application/problem+json", body = super::problem::Body9457),
        (status = 416, description = "no such range", content_type = "application/problem+json",
            body = super::problem::Body9457), Problems))]
pub async fn audio(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(recording): Path<String>,
    query: Query<SiteQuery>,
    mut request: Request,
) -> Result<Response, Problem> {
    let (site, row) = read(&api, &caller, &recording, &query).await?;
    let Some(path) = local_file(&api.node.recordings_roots, &site.code, &row.path) else {
        return archived::audio(api.node.archive.as_ref(), &row, request).await;
    };
    let tag = row.tag();
    let fresh = is_fresh(request.headers(), tag.as_ref());
    settle_range(&mut request, tag.as_ref());
    let response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let served = ServeFile::new(path).try_call(request).await;
        served.map_err(|_| Problem::busy("the file cannot be read now"))?.into_response()
    };
    Ok(described(response, "audio/wav", tag))
}

/// Says what it is, and who may keep it.
pub(super) fn described(mut response: Response, kind: &'static str, tag: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A citizen's voice stays out of shared caches, and each use is asked for and audited again.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Some(tag) = tag {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Looks a recording up for somebody who may read it, and tells the audit.
pub(super) async fn read(
    api: &Api,
    caller: &Caller,
    recording: &str,
    query: &SiteQuery,
) -> Result<(Site, RecordingRow), Problem> {
    let (site, _) = caller.one_site(Action::RecordingRead, query.site.as_deref())?;
    let row = api.node.store.site(&site.code).recording(id::<RecordingId>(recording)?).await?;
    let row = row.ok_or_else(Problem::not_found)?;
    let object = Object::One { site: &row.site, owner: None };
    caller.may(Action::RecordingRead, object, audit_name(recording))?;
    caller.done(site.id, Action::RecordingRead, audit_name(recording));
    Ok((site, row))
}

/// What a client may know of a recording's content.
pub(super) trait Tagged {
    /// The entity tag: the SHA-256 of the finished file.
    fn tag(&self) -> Option<HeaderValue>;
    /// That of its object in the archive.
    fn archive_tag(&self) -> Option<HeaderValue>;
}

impl Tagged for RecordingRow {
    fn tag(&self) -> Option<HeaderValue> {
        quoted(self.sha256.as_deref()?)
    }

    fn archive_tag(&self) -> Option<HeaderValue> {
        quoted(self.archive_sha256.as_deref()?)
    }
}

fn quoted(sha256: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{sha256}\"")).ok()
}

/// The file below the site's folder, in whichever directory it lies; `None` when it lies in none, or when the stored path
/// would lead out of the site's folder.
pub(super) fn local_file(roots: &[PathBuf], site: &str, path: &str) -> Option<PathBuf> {
    let inside = |part: &str| FilePath::new(part).components().all(|part| matches!(part, Component::Normal(_)));
    let mut places = roots.iter().map(|root| root.join(site).join(path));
    (inside(site) && inside(path)).then(|| places.find(|path| path.is_file())).flatten()
}

/// RFC 9110 section 13.1.2: whether the client has this very file already.
pub(super) fn is_fresh(headers: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let Some(tag) = tag.and_then(|tag| tag.to_str().ok()) else {
        return false;
    };
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).map(str::trim).any(|known| {
        // Weak comparison (section 8.8.3.2): the prefix says nothing here.
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

/// Takes away what must not or need not be heeded, so that only one plain range of the same file is left.
pub(super) fn settle_range(request: &mut Request, tag: Option<&HeaderValue>) {
    // Section 13.1.5: another file than the client began with is sent whole.
    let changed = request.headers().get(header::IF_RANGE).is_some_and(|known| Some(known) != tag);
    // Section 14.2: only GET has ranges, unknown units are ignored, and several ranges may be.
    let plain = |range: &HeaderValue| range.as_bytes().starts_with(b"bytes=") && !range.as_bytes().contains(&b',');
    let odd = request.headers().get(header::RANGE).is_some_and(|range| !plain(range));
    if changed || odd || request.method() == Method::HEAD {
        request.headers_mut().remove(header::RANGE);
    }
    // Section 13.1.3: a date means nothing beside a tag.
    if request.headers().contains_key(header::IF_NONE_MATCH) {
        request.headers_mut().remove(header::IF_MODIFIED_SINCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_leads_out_of_the_sites_folder() {
        let folder = tempfile::tempdir().unwrap();
        let roots = [folder.path().join("one"), folder.path().join("two")];
        for root in &roots {
            std::fs::create_dir_all(root.join("fz/2026")).unwrap();
        }
        std::fs::create_dir_all(folder.path().join("one/ly")).unwrap();
        let files = ["one/fz/2026/a.wav", "two/fz/2026/a.wav", "two/fz/2026/b.wav", "one/ly/a.wav", "a.wav"]
            .map(|file| folder.path().join(file));
        files.iter().for_each(|file| std::fs::write(file, "").unwrap());
        assert_eq!(local_file(&roots, "fz", "2026/a.wav").as_ref(), Some(&files[0]));
        assert_eq!(local_file(&roots, "fz", "2026/b.wav").as_ref(), Some(&files[2]));
        assert_eq!(local_file(&roots, "fz", "2026/c.wav"), None);
        for (site, path) in [("fz", "../ly/a.wav"), ("fz", "/etc/passwd"), ("..", "a.wav"), ("fz", "a/../../b")] {
            assert_eq!(local_file(&roots, site, path), None, "{site} {path}");
        }
    }

    #[test]
    fn only_one_plain_range_of_the_same_file_is_left() {
        let tag = HeaderValue::from_static("\"aa\"");
        let cases = [
            (Method::GET, "bytes=0-9", None, true),
            (Method::GET, "bytes=0-9", Some("\"aa\""), true),
            (Method::GET, "bytes=0-9", Some("\"bb\""), false),
            (Method::GET, "bytes=0-9,20-29", None, false),
            (Method::GET, "seconds=1-2", None, false),
            (Method::HEAD, "bytes=0-9", None, false),
        ];
        for (method, range, if_range, kept) in cases {
            let mut request = Request::builder().method(&method).header(header::RANGE, range);
            if let Some(known) = if_range {
                request = request.header(header::IF_RANGE, known);
            }
            let mut request = request.body(axum::body::Body::empty()).unwrap();
            settle_range(&mut request, Some(&tag));
            assert_eq!(request.headers().contains_key(header::RANGE), kept, "{method} {range} {if_range:?}");
        }
    }
}
