//! Recordings whose files are gone, as the archive keeps them: with ranges (RFC 9110 section 14), straight from the store.

use super::problem::Problem;
use super::recordings::{Tagged, described, is_fresh, settle_range};
use crate::node::archive::{Archive, ReadError};
use crate::store::recordings::RecordingRow;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_range_header::parse_range_header;
use std::fs::File;
use std::ops::Range;

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::Gone => {
                Problem::new(StatusCode::GONE, "the recording is neither here nor in the archive any more")
            }
            ReadError::Away => Problem::busy("the archive cannot be read now: ask again"),
        }
    }
}

/// The archive that has the recording.
fn of<'a>(archive: Option<&'a Archive>, row: &RecordingRow) -> Result<&'a Archive, Problem> {
    // What was never archived is simply not there.
    row.archived.ok_or_else(Problem::not_found)?;
    archive.ok_or_else(|| Problem::busy("the recording is in an archive that this node is not configured for"))
}

/// The sound as it is kept: the file that was, or Ogg Opus.
pub(super) async fn audio(
    archive: Option<&Archive>,
    row: &RecordingRow,
    mut request: Request,
) -> Result<Response, Problem> {
    let archive = of(archive, row)?;
    let tag = row.archive_tag();
    let kind = if row.archive_format.as_deref() == Some("opus") { "audio/ogg" } else { "audio/wav" };
    if is_fresh(request.headers(), tag.as_ref()) {
        return Ok(described(StatusCode::NOT_MODIFIED.into_response(), kind, tag));
    }
    settle_range(&mut request, tag.as_ref());
    let size = row.archive_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    let range = match wanted(request.headers(), size) {
        Ok(range) => range,
        Err(problem) => {
            let mut response = problem.into_response();
            response.headers_mut().insert(header::CONTENT_RANGE, text(format!("bytes */{size}")));
            return Ok(response);
        }
    };
    let body = match request.method() {
        &Method::HEAD => Body::empty(),
        _ => Body::from_stream(archive.read(row, range.clone()).await?),
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Some(Range { start, end }) = range {
        headers.insert(header::CONTENT_RANGE, text(format!("bytes {start}-{}/{size}", end - 1)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(described(response, kind, tag))
}

/// The recording as a WAV file without a name.
pub(super) async fn fetch(archive: Option<&Archive>, row: &RecordingRow) -> Result<File, Problem> {
    Ok(of(archive, row)?.fetch(row).await?)
}

/// The one range that is left in the headers.
fn wanted(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, Problem> {
    let Some(asked) = headers.get(header::RANGE) else { return Ok(None) };
    let asked = asked.to_str().ok().and_then(|asked| parse_range_header(asked).ok());
    let range = asked.and_then(|asked| asked.validate(size).ok()?.into_iter().next());
    let none = || Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "the recording has no such range");
    range.map(|range| Some(*range.start()..*range.end() + 1)).ok_or_else(none)
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and signs")
}
