//! `/recordings/{id}/peaks`: the picture of a recording, computed from its file while it is sent.
//!
//! Each piece is read and computed on a thread that may block, when the client has taken the one before: a day's recording
//! takes no more memory than a short one, and a client that does not read holds no thread.

use super::auth::Caller;
use super::problem::{Problem, Problems};
use super::recordings::{Tagged, described, is_fresh, local_file, read};
use super::{Api, SiteQuery, archived};
use crate::recording::SAMPLE_HZ;
use crate::recording::format::{self, FRAME_BYTES, HEADER_BYTES};
use crate::recording::peaks::{PER_SECOND, Peak, Peaks};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

/// Windows a second when the client names none.
const PER_SECOND_USUAL: u32 = 20;
/// Sound is read in pieces of this size: 8 s of it.
const PIECE_BYTES: u64 = 128 * 1024;

/// How fine a picture.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeaksQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// Windows a second, 1 to 100; 20 when not given.
    #[param(minimum = 1, maximum = 100)]
    pub per_second: Option<u32>,
}

/// The loudest samples of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordingPeaks)]
pub struct PeaksBody {
    /// Windows a second.
    pub per_second: u32,
    /// Milliseconds of audio.
    pub duration_ms: u64,
    /// For each window the largest magnitude of the citizen's samples and of all others': 8 in silence, at most 32256.
    pub peaks: Vec<[u16; 2]>,
}

/// The loudest samples of both channels, window by window, for drawing a waveform. Knows `If-None-Match`.
#[utoipa::path(get, path = "/recordings/{id}/peaks", tag = "recordings", params(("id" = String, Path), PeaksQuery),
    security(("bearer" = [])),
    responses((status = 200, body = PeaksBody), (status = 304, description = "as known"), Problems))]
pub async fn peaks(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(recording): Path<String>,
    Query(query): Query<PeaksQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let per_second = query.per_second.unwrap_or(PER_SECOND_USUAL);
    if !PER_SECOND.contains(&per_second) {
        let (least, most) = (PER_SECOND.start(), PER_SECOND.end());
        return Err(Problem::bad_request(format!("per_second is a number from {least} to {most}")));
    }
    let (site, row) = read(&api, &caller, &recording, &SiteQuery { site: query.site }).await?;
    let tag = row.tag();
    let response = if is_fresh(&headers, tag.as_ref()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let path = local_file(&api.node.recordings_roots, &site.code, &row.path);
        let file = match path {
            Some(path) => blocking(move || File::open(path)).await?.map_err(|error| unreadable(&row.id, &error))?,
            None => archived::fetch(api.node.archive.as_ref(), &row).await?,
        };
        sent(
            blocking(move || Picture::begin(file, per_second))
                .await?
                .map_err(|error| unreadable(&recording, &error))?,
        )
    };
    Ok(described(response, "application/json", tag))
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(act).await.map_err(|_| Problem::fault())
}

fn unreadable(recording: &str, error: &io::Error) -> Problem {
    tracing::error!(recording, %error, "its file cannot be drawn; jiesu verify tells more");
    match error.kind() {
        io::ErrorKind::InvalidData => Problem::fault(),
        _ => Problem::busy("the file cannot be read now"),
    }
}

/// A file being drawn.
struct Picture {
    file: File,
    /// The next frame to read.
    at: u64,
    /// Frames there are.
    frames: u64,
    peaks: Peaks,
    /// Written and not sent yet.
    text: String,
}

impl Picture {
    /// A file still being written is drawn as far as it is.
    fn begin(file: File, per_second: u32) -> io::Result<Picture> {
        let length = file.metadata()?.len();
        let mut head = format::Header::from([0; HEADER_BYTES as usize]);
        let read = file.read_exact_at(&mut head, 0);
        read.and_then(|()| format::parse(&head).map_err(io::Error::other))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let frames = format::frames_in(length);
        let duration_ms = frames * 1000 / u64::from(SAMPLE_HZ);
        let text = format!("{{\"per_second\":{per_second},\"duration_ms\":{duration_ms},\"peaks\":[");
        Ok(Picture { file, at: 0, frames, peaks: Peaks::new(per_second), text })
    }

    /// Draws the next piece; `None` behind the last.
    fn step(mut self) -> io::Result<(Bytes, Option<Picture>)> {
        let wanted = (self.frames - self.at).min(PIECE_BYTES / FRAME_BYTES);
        let mut piece = vec![0; (wanted * FRAME_BYTES) as usize];
        self.file.read_exact_at(&mut piece, format::bytes_of(self.at))?;
        let (mut peaks, first) = (Vec::new(), self.at == 0);
        self.peaks.take(piece.as_chunks().0, &mut peaks);
        self.at += wanted;
        let last = self.at == self.frames;
        if last {
            peaks.extend(self.peaks.clone().finish());
        }
        let mut text = std::mem::take(&mut self.text);
        for (number, peak) in peaks.iter().enumerate() {
            put(&mut text, first && number == 0, peak);
        }
        if last {
            text.push_str("]}");
        }
        Ok((text.into(), (!last).then_some(self)))
    }
}

fn put(text: &mut String, first: bool, [left, right]: &Peak) {
    let before = if first { "" } else { "," };
    write!(text, "{before}[{left},{right}]").expect("a string takes everything");
}

fn sent(picture: Picture) -> Response {
    let pieces = try_unfold(Some(picture), |rest| async move {
        let Some(picture) = rest else { return Ok(None) };
        spawn_blocking(move || picture.step()).await.map_err(io::Error::other)?.map(Some)
    });
    Body::from_stream(pieces).into_response()
}
