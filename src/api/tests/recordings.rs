//! Sound with ranges, and the audit of each read.

use super::*;
use crate::api::peaks::PeaksBody;

async fn audio(site: &Two, method: Method, headers: &[(header::HeaderName, &str)]) -> Answer {
    let path = format!("/api/v1/recordings/{}/audio", recording(0));
    let mut request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, "Bearer fz-qc");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    site.send(request.body(Body::empty()).unwrap()).await
}

fn tag() -> String {
    format!("\"{}\"", "ab".repeat(32))
}

#[tokio::test]
async fn the_whole_file_has_its_length_type_and_tag() {
    let site = two_sites().await;
    let answer = audio(&site, Method::GET, &[]).await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, SOUND));
    assert_eq!(answer.headers[header::CONTENT_TYPE], "audio/wav");
    assert_eq!(answer.headers[header::ACCEPT_RANGES], "bytes");
    assert_eq!(answer.headers[header::ETAG], tag());
    assert_eq!(answer.headers[header::CACHE_CONTROL], "private, no-cache");
    let head = audio(&site, Method::HEAD, &[(header::RANGE, "bytes=0-3")]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.headers[header::CONTENT_LENGTH], SOUND.len().to_string());
}

#[tokio::test]
async fn ranges_by_rfc_9110() {
    let site = two_sites().await;
    let length = SOUND.len();
    let cases = [
        ("bytes=4-7", 206, SOUND[4..8].to_vec(), format!("bytes 4-7/{length}")),
        ("bytes=40-", 206, SOUND[40..].to_vec(), format!("bytes 40-{}/{length}", length - 1)),
        ("bytes=-5", 206, SOUND[length - 5..].to_vec(), format!("bytes {}-{}/{length}", length - 5, length - 1)),
        ("bytes=40-9999", 206, SOUND[40..].to_vec(), format!("bytes 40-{}/{length}", length - 1)),
        ("bytes=0-1,4-5", 200, SOUND.to_vec(), String::new()),
        ("seconds=1-2", 200, SOUND.to_vec(), String::new()),
    ];
    for (range, status, body, content_range) in cases {
        let answer = audio(&site, Method::GET, &[(header::RANGE, range)]).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, &body[..]), "{range}");
        let told = answer.headers.get(header::CONTENT_RANGE).map_or("", |value| value.to_str().unwrap());
        assert_eq!(told, content_range, "{range}");
    }
    let beyond = audio(&site, Method::GET, &[(header::RANGE, "bytes=9999-")]).await;
    beyond.problem(416);
    assert_eq!(beyond.headers[header::CONTENT_RANGE], format!("bytes */{length}"));
}

#[tokio::test]
async fn conditions_by_tag() {
    let site = two_sites().await;
    let (tag, range) = (tag(), (header::RANGE, "bytes=0-3"));
    let known = audio(&site, Method::GET, &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(known.headers[header::ETAG], tag);
    let other = audio(&site, Method::GET, &[(header::IF_NONE_MATCH, "\"other\"")]).await;
    assert_eq!(other.status, StatusCode::OK);
    let same = audio(&site, Method::GET, &[range.clone(), (header::IF_RANGE, &tag)]).await;
    assert_eq!(same.status, StatusCode::PARTIAL_CONTENT);
    let changed = audio(&site, Method::GET, &[range, (header::IF_RANGE, "\"other\"")]).await;
    assert_eq!((changed.status, &changed.body[..]), (StatusCode::OK, SOUND));
}

#[tokio::test]
async fn every_read_is_told_to_the_audit() {
    let site = two_sites().await;
    sound(&site, 80, |_| [crate::recording::SILENCE; 2]);
    let one = format!("/recordings/{}", recording(0));
    for path in ["/recordings", &one, &format!("{one}/audio"), &format!("{one}/peaks")] {
        assert_eq!(site.get(path, "fz-qc").await.status, StatusCode::OK);
        let audit = site.audit();
        assert_eq!(audit.len(), 1, "{path}");
        let (whose, fact) = &audit[0];
        assert_eq!((*whose, &*fact.actor, &*fact.role), (Some(SiteId(0)), "1001", "qc"));
        assert_eq!((&*fact.action, fact.allowed), ("recording.read", true));
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_a_problem_without_a_tag() {
    let site = two_sites().await;
    std::fs::remove_file(site.node.recordings_roots[1].join("fz/2026/one.wav")).unwrap();
    let answer = audio(&site, Method::GET, &[]).await;
    answer.problem(404);
    assert_eq!(answer.headers.get(header::ETAG), None);
}

/// Puts a real file in the place of the recording.
fn sound(site: &Two, frames: u64, frame: impl Fn(u64) -> [u8; 2]) {
    let sound = (0..frames).flat_map(frame);
    let bytes: Vec<u8> = crate::recording::format::header(frames).into_iter().chain(sound).collect();
    std::fs::write(site.node.recordings_roots[1].join("fz/2026/one.wav"), bytes).unwrap();
}

async fn peaks(site: &Two, query: &str) -> Answer {
    site.get(&format!("/recordings/{}/peaks{query}", recording(0)), "fz-qc").await
}

/// Ten seconds and a sample: more than one piece; the citizen is loud in the third second, the others in the last sample.
#[tokio::test]
async fn peaks_are_those_of_the_file() {
    let site = two_sites().await;
    let silence = crate::recording::SILENCE;
    sound(&site, 80_001, |frame| match frame {
        16_000..24_000 => [0xaa, silence],
        80_000 => [silence, 0x2a],
        _ => [silence; 2],
    });
    let answer = peaks(&site, "?per_second=1").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.headers[header::ETAG], tag());
    assert_eq!(answer.headers[header::CACHE_CONTROL], "private, no-cache");
    let body: PeaksBody = serde_json::from_slice(&answer.body).unwrap();
    let mut expected = vec![[8, 8]; 11];
    (expected[2], expected[10]) = ([32_256, 8], [8, 32_256]);
    assert_eq!(body, PeaksBody { per_second: 1, duration_ms: 10_000, peaks: expected });
    for (query, windows) in [("", 201), ("?per_second=100", 1_001), ("?per_second=7", 71)] {
        let body: PeaksBody = serde_json::from_slice(&peaks(&site, query).await.body).unwrap();
        assert_eq!(body.peaks.len(), windows, "{query}");
    }
    sound(&site, 0, |_| [silence; 2]);
    let empty: PeaksBody = serde_json::from_slice(&peaks(&site, "").await.body).unwrap();
    assert_eq!(empty, PeaksBody { per_second: 20, duration_ms: 0, peaks: vec![] });
}

#[tokio::test]
async fn peaks_that_cannot_be_had_are_problems() {
    let site = two_sites().await;
    for query in ["?per_second=0", "?per_second=101", "?per_second=-1", "?per_second=x"] {
        peaks(&site, query).await.problem(400);
    }
    assert_eq!(site.audit(), [], "nothing was read");
    // What lies there is no recording.
    peaks(&site, "").await.problem(500);
    std::fs::remove_file(site.node.recordings_roots[1].join("fz/2026/one.wav")).unwrap();
    peaks(&site, "").await.problem(404);
    let path = format!("/api/v1/recordings/{}/peaks", recording(0));
    let known = Request::builder().uri(path).header(header::AUTHORIZATION, "Bearer fz-qc");
    let known = site.send(known.header(header::IF_NONE_MATCH, tag()).body(Body::empty()).unwrap()).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
}
