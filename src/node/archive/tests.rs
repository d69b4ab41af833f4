//! The archive on a directory and on a small S3 service of our own that keeps what it is asked: real files, a real database.

use super::*;
use crate::base::fact::{Audit, Fact, Stamped};
use crate::recording::{SILENCE, format as wav};
use crate::store::{Store, sample};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::sync::mpsc::{Receiver, channel};
use tempfile::TempDir;

/// For what follows by itself.
const SOON: Duration = Duration::from_secs(60);
const SECRET: &str = "wJalrXUtnFEMI";

/// A finished recording of some seconds, and an archive to be.
struct World {
    folder: TempDir,
    store: Store,
    sound: Vec<u8>,
    audit: Receiver<(String, Audit)>,
    worker: Option<Worker>,
    archive: Archive,
    configured: Configured,
}

fn sound() -> Vec<u8> {
    let frames = 24_000;
    let mut sound = wav::header(frames).to_vec();
    sound.extend((0..frames).flat_map(|frame| [if frame % 16_000 < 8_000 { 0xaa } else { SILENCE }, SILENCE]));
    sound
}

async fn world(target: impl FnOnce(&std::path::Path) -> Target, change: impl FnOnce(&mut Configured)) -> World {
    let folder = tempfile::tempdir().unwrap();
    // In a file: a worker that is stopped may take its connection along, and with it a database in memory.
    let (store, sound) = (Store::open(folder.path().join("jiesu.db")).await.unwrap(), sound());
    let truthful = |mut fact: Stamped| {
        if let Fact::Recording(recording) = &mut fact.fact
            && let Some(finished) = &mut recording.finished
        {
            (finished.bytes, finished.sha256) = (sound.len() as u64, hex::encode(Sha256::digest(&sound)).into());
        }
        fact
    };
    store.apply(&sample::call("a", 1).into_iter().map(truthful).collect::<Vec<_>>()).await.unwrap();
    let day = folder.path().join("recordings/a/2026/05/28");
    fs::create_dir_all(&day).unwrap();
    fs::write(day.join("1.wav"), &sound).unwrap();
    let mut configured = Configured {
        target: target(&folder.path().join("archive")),
        format: Format::Wav,
        jobs_max: 2,
        attempt_max: SOON,
        stuck_after: Duration::from_secs(3_600),
        keep_local: None,
    };
    change(&mut configured);
    let archive = Archive::open(&configured).unwrap();
    let mut world = World { folder, store, sound, audit: channel().1, worker: None, archive, configured };
    world.works(|_| {});
    world
}

impl World {
    /// Starts the worker, as configured so far and changed.
    fn works(&mut self, change: impl FnOnce(&mut Configured)) {
        change(&mut self.configured);
        let (to, audit) = channel();
        let tell = move |site: &str, audit: Audit| {
            // A test that has seen enough no longer listens.
            let _ = to.send((site.to_owned(), audit));
        };
        let folders = ["recordings", "second"].map(|name| self.folder.path().join(name)).to_vec();
        let (configured, store) = (self.configured.clone(), self.store.clone());
        let settings = Settings { configured, folders, store, audit: Box::new(tell) };
        self.audit = audit;
        self.worker = Some(Worker::start(self.archive.clone(), settings).unwrap());
    }

    /// Waits for what the archive did, by its word in the audit.
    async fn does(&mut self, action: &str) {
        let audit = std::mem::replace(&mut self.audit, channel().1);
        let told = tokio::task::spawn_blocking(move || (audit.recv_timeout(SOON), audit));
        let (told, audit) = told.await.unwrap();
        self.audit = audit;
        let (site, told) = told.expect("something done");
        assert_eq!((&*site, &*told.action, &*told.actor), ("a", action, "archive"));
    }

    async fn row(&self) -> RecordingRow {
        let page = crate::store::Page { before: None, limit: crate::store::Limit::default() };
        self.store.site("a").recordings(None, page).await.unwrap().remove(0)
    }

    async fn read(&self, range: Option<Range<u64>>) -> Result<Vec<u8>, ReadError> {
        let mut pieces = self.archive.read(&self.row().await, range).await?;
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        Ok(all)
    }

    fn local(&self) -> PathBuf {
        self.folder.path().join("recordings/a/2026/05/28/1.wav")
    }

    fn stop(&mut self) {
        self.worker.take().unwrap().stop();
    }
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_recording_goes_to_a_directory_and_is_read_from_there() {
    let day = |root: &std::path::Path| root.join("a/2026/05/28");
    let crashed = |root: &std::path::Path| {
        // As a `kill -9` in the middle of an object leaves it.
        fs::create_dir_all(day(root)).unwrap();
        fs::write(day(root).join("1.wav#1"), b"RIF").unwrap();
        Target::Folder(root.into())
    };
    let mut world = world(crashed, |configured| configured.keep_local = Some(Duration::ZERO)).await;
    world.does("recording.archive").await;
    world.does("recording.remove_local").await;
    let row = world.row().await;
    assert_eq!(
        (row.archive_object.as_deref(), row.archive_format.as_deref()),
        (Some("a/2026/05/28/1.wav"), Some("wav"))
    );
    assert_eq!((row.archive_sha256.clone(), row.archive_bytes), (row.sha256.clone(), row.bytes));
    assert!(row.local_removed.is_some() && !world.local().exists());
    assert_eq!(files(&day(&world.folder.path().join("archive"))), ["1.wav"], "one object, whole");
    assert_eq!(world.read(None).await.unwrap(), world.sound);
    assert_eq!(world.read(Some(58..70)).await.unwrap(), world.sound[58..70]);
    let mut fetched = Vec::new();
    world.archive.fetch(&row).await.unwrap().read_to_end(&mut fetched).unwrap();
    assert_eq!(fetched, world.sound);
    world.stop();
    let figures = world.archive.figures();
    assert_eq!((figures.done, figures.failed, figures.removed), (1, 0, 1));
    assert_eq!(figures.bytes, world.sound.len() as u64);
    fs::remove_file(day(&world.folder.path().join("archive")).join("1.wav")).unwrap();
    assert_eq!(world.read(None).await.unwrap_err(), ReadError::Gone);
}

#[tokio::test]
async fn as_opus_it_is_as_long_and_a_tenth_as_large() {
    let opus = |configured: &mut Configured| configured.format = Format::Opus { bits_per_s: 48_000 };
    let mut world = world(|root| Target::Folder(root.into()), opus).await;
    world.does("recording.archive").await;
    let row = world.row().await;
    assert_eq!(row.archive_object.as_deref(), Some("a/2026/05/28/1.opus"));
    assert!(world.local().exists() && row.local_removed.is_none());
    let object = world.read(None).await.unwrap();
    assert!(object.starts_with(b"OggS") && object.len() < world.sound.len() / 2, "{} bytes", object.len());
    let mut fetched = Vec::new();
    world.archive.fetch(&row).await.unwrap().read_to_end(&mut fetched).unwrap();
    assert_eq!((wav::parse(&fetched), fetched.len()), (Ok(24_000), world.sound.len()));
    world.stop();
}

#[tokio::test]
async fn a_file_that_is_not_what_was_recorded_or_gone_is_not_archived_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wav");
    fs::write(&path, sound()).unwrap();
    let recorded = hex::encode(Sha256::digest(sound()));
    for format in [Format::Wav, Format::Opus { bits_per_s: 48_000 }] {
        let mut good = content::Content::open(&path, &recorded, format, 1).unwrap();
        good.part().unwrap();
        assert!(good.given().is_some());
        let mut bad = content::Content::open(&path, &"ab".repeat(32), format, 1).unwrap();
        assert_eq!(bad.part().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(bad.given(), None);
    }
    let mut world = world(|root| Target::Folder(root.into()), |_| {}).await;
    world.does("recording.archive").await;
    world.stop();
    let other = sample::call("a", 2);
    world.store.apply(&other).await.unwrap();
    // Of this one there is no file at all: it is passed over, and the next one comes.
    let mut third = sample::call("a", 3);
    for fact in &mut third {
        if let Fact::Recording(fact) = &mut fact.fact
            && let Some(finished) = &mut fact.finished
        {
            finished.sha256 = recorded.as_str().into();
        }
    }
    world.store.apply(&third).await.unwrap();
    fs::write(world.local().with_file_name("3.wav"), sound()).unwrap();
    world.works(|_| {});
    world.does("recording.archive").await;
    world.stop();
    let figures = world.archive.figures();
    assert_eq!((figures.done, figures.failed), (2, 1));
}

/// An S3 service: objects in memory; it fails as often as it is told.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Vec<u8>>,
    /// Method, path with query, and whether it was signed by our key with the hash of its body.
    asked: Vec<(Method, String, bool)>,
    failures: u32,
    parts: BTreeMap<u32, Vec<u8>>,
}

async fn serve(State(service): State<Service>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let signed = is_signed(&parts.headers, &body);
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let mut kept = service.0.lock().unwrap();
    kept.asked.push((parts.method.clone(), format!("{path}?{query}"), signed));
    if kept.failures > 0 {
        kept.failures -= 1;
        return StatusCode::FORBIDDEN.into_response();
    }
    let number = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse().ok());
    match (parts.method, number) {
        (Method::PUT, Some(number)) => {
            kept.parts.insert(number, body.to_vec());
            [(header::ETAG, format!("\"{number}\""))].into_response()
        }
        (Method::PUT, None) => {
            kept.objects.insert(path, body.to_vec());
            [(header::ETAG, "\"1\"")].into_response()
        }
        (Method::POST, _) if query.starts_with("uploads") => {
            "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>".into_response()
        }
        (Method::POST, _) => {
            let whole = std::mem::take(&mut kept.parts).into_values().flatten().collect();
            kept.objects.insert(path, whole);
            "<CompleteMultipartUploadResult><ETag>\"2\"</ETag></CompleteMultipartUploadResult>".into_response()
        }
        (_, _) => kept.objects.get(&path).map_or(StatusCode::NOT_FOUND.into_response(), |object| {
            found(object, parts.headers.get(header::RANGE).map(|range| range.to_str().unwrap()))
        }),
    }
}

fn found(object: &[u8], range: Option<&str>) -> Response {
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    let Some(range) = range else {
        return ([(header::ETAG, "\"1\""), (header::LAST_MODIFIED, date)], Body::from(object.to_vec())).into_response();
    };
    let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
    let told = format!("bytes {from}-{to}/{}", object.len());
    let headers = [(header::CONTENT_RANGE, &*told), (header::ETAG, "\"1\""), (header::LAST_MODIFIED, date)];
    (StatusCode::PARTIAL_CONTENT, headers, Body::from(object[from..=to].to_vec())).into_response()
}

/// AWS Signature Version 4 in a header: the key's name, day, region and service, and the body's hash among what is signed.
fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let signature = text("authorization");
    let parts = ["AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/", "/cn-north-1/s3/aws4_request", "x-amz-content-sha256"];
    let hash = hex::encode(Sha256::digest(body));
    parts.iter().all(|part| signature.contains(part)) && text("x-amz-content-sha256") == hash
}

async fn service(service: Service) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(serve).with_state(service);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn bucket(endpoint: String) -> Target {
    Target::S3(Box::new(Bucket {
        name: "hotline".into(),
        prefix: "12345/recordings".into(),
        endpoint: Some(endpoint.into()),
        region: "cn-north-1".into(),
        virtual_hosted: false,
        access_key: "AKIDEXAMPLE".into(),
        secret_key: crate::config::archive::Secret(SECRET.into()),
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_asked_with_signatures_and_again_after_it_failed() {
    crate::net::tls::install_provider();
    let kept = Service::default();
    kept.0.lock().unwrap().failures = 1;
    let endpoint = service(kept.clone()).await;
    let target = bucket(endpoint);
    assert!(!format!("{target:?}").contains(SECRET));
    let mut world = world(|_| target, |configured| configured.keep_local = Some(Duration::ZERO)).await;
    world.does("recording.archive").await;
    world.does("recording.remove_local").await;
    assert_eq!(world.read(None).await.unwrap(), world.sound);
    assert_eq!(world.read(Some(100..120)).await.unwrap(), world.sound[100..120]);
    world.stop();
    assert_eq!(world.archive.figures().failed, 1);
    let asked = std::mem::take(&mut kept.0.lock().unwrap().asked);
    let object = "/hotline/12345/recordings/a/2026/05/28/1.wav";
    assert!(asked.iter().all(|(_, path, signed)| *signed && path.starts_with(object)), "{asked:?}");
    let methods: Vec<&Method> = asked.iter().map(|(method, _, _)| method).collect();
    // Refused, put, read back, looked for before the local file goes, and both readings.
    assert_eq!(methods, [&Method::PUT, &Method::PUT, &Method::GET, &Method::HEAD, &Method::GET, &Method::GET]);
    kept.0.lock().unwrap().objects.clear();
    assert_eq!(world.read(None).await.unwrap_err(), ReadError::Gone);
    kept.0.lock().unwrap().failures = 10;
    assert_eq!(world.read(None).await.unwrap_err(), ReadError::Away);
}

#[tokio::test]
async fn an_object_that_the_store_has_lost_is_archived_anew_before_its_file_goes() {
    let mut world = world(|root| Target::Folder(root.into()), |_| {}).await;
    world.does("recording.archive").await;
    world.stop();
    fs::remove_file(world.folder.path().join("archive/a/2026/05/28/1.wav")).unwrap();
    world.works(|configured| configured.keep_local = Some(Duration::ZERO));
    world.does("recording.archive").await;
    world.does("recording.remove_local").await;
    world.stop();
    assert_eq!(world.read(None).await.unwrap(), world.sound);
}
