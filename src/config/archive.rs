//! `[archive]`: where recordings are kept after their end.

use super::problem::suggest;
use super::schema;
use super::source::Check;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most jobs at once that can be asked for.
const JOBS_MAX: u64 = 16;
/// The schemes of `url`.
const SCHEMES: &str = "write \"file:///DIRECTORY\" or \"s3://BUCKET/PREFIX\"";

/// `[archive]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Where objects go.
    pub target: Target,
    /// What they hold.
    pub format: Format,
    /// Recordings on their way at once.
    pub jobs_max: usize,
    /// A recording that takes longer on its way is given up and tried again.
    pub attempt_max: Duration,
    /// A recording that waits longer makes the archive count as stuck.
    pub stuck_after: Duration,
    /// The local file is removed so long after its object was read back; `None`: never.
    pub keep_local: Option<Duration>,
}

/// Where objects go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A directory, most likely of another machine.
    Folder(PathBuf),
    /// A bucket of an S3 service.
    S3(Box<Bucket>),
}

/// A bucket of an S3 service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: Box<str>,
    /// Before each object's name; empty or without slashes at its ends.
    pub prefix: Box<str>,
    /// Where the service is; `None`: Amazon's.
    pub endpoint: Option<Box<str>>,
    /// Its region.
    pub region: Box<str>,
    /// Whether the bucket is part of the host's name.
    pub virtual_hosted: bool,
    /// Name of the key.
    pub access_key: Box<str>,
    /// The key.
    pub secret_key: Secret,
}

/// A text that never reaches a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Box<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What objects hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The file as it was recorded.
    Wav,
    /// Ogg Opus (RFC 7845), stereo.
    Opus {
        /// Bits a second of both channels.
        bits_per_s: u32,
    },
}

/// Checks the section's meaning; `None` when there is none, or none that could be used.
pub(super) fn check(check: &mut Check<'_>, raw: Option<&schema::Archive>, root: &Path) -> Option<Archive> {
    let raw = raw?;
    let kbit = check.bounded(raw.opus_kbit_s.as_ref(), 24, 6..=128) as u32;
    let format = match raw.format.as_ref().map(|format| format.get_ref().as_str()) {
        None | Some("wav") => Format::Wav,
        Some("opus") => Format::Opus { bits_per_s: 2_000 * kbit },
        Some(other) => {
            let span = raw.format.as_ref().map_or(0..0, |format| format.span());
            check.wrong(&span, format!("unknown format \"{other}\""), suggest(other, ["wav", "opus"]));
            Format::Wav
        }
    };
    let days = raw.keep_local_days.as_ref().map(|days| check.bounded(Some(days), 36_500, 0..=36_500));
    Some(Archive {
        jobs_max: check.bounded(raw.jobs_max.as_ref(), 1, 1..=JOBS_MAX) as usize,
        attempt_max: check.seconds(raw.attempt_s_max.as_ref(), 600, 1..=86_400),
        stuck_after: Duration::from_secs(3_600 * check.bounded(raw.stuck_after_h.as_ref(), 24, 1..=8_760)),
        target: target(check, raw, root)?,
        format,
        keep_local: days.map(|days| Duration::from_secs(86_400 * days)),
    })
}

fn target(check: &mut Check<'_>, raw: &schema::Archive, root: &Path) -> Option<Target> {
    let url = raw.url.get_ref();
    let s3_only = [&raw.endpoint, &raw.region, &raw.access_key, &raw.secret_key_file, &raw.secret_key_env];
    if let Some(path) = url.strip_prefix("file://") {
        if let Some(odd) = s3_only.into_iter().flatten().next() {
            check.wrong(
                &odd.span(),
                "only an S3 service has this",
                "take it away, or write url = \"s3://BUCKET/PREFIX\"",
            );
        }
        if !path.starts_with('/') || path == "/" {
            check.wrong(&raw.url.span(), format!("\"{url}\" names no directory"), SCHEMES);
            return None;
        }
        return Some(Target::Folder(path.into()));
    }
    let Some(rest) = url.strip_prefix("s3://") else {
        check.wrong(&raw.url.span(), format!("\"{url}\" is no place for an archive"), SCHEMES);
        return None;
    };
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if name.is_empty() || !name.bytes().all(allowed) {
        check.wrong(&raw.url.span(), format!("\"{name}\" cannot name a bucket"), SCHEMES);
        return None;
    }
    Some(Target::S3(Box::new(Bucket {
        name: name.into(),
        prefix: prefix.trim_matches('/').into(),
        endpoint: raw.endpoint.as_ref().and_then(|text| endpoint(check, text)),
        region: raw.region.as_ref().map_or("us-east-1", |region| region.get_ref()).into(),
        virtual_hosted: raw.virtual_hosted.unwrap_or(false),
        access_key: raw.access_key.as_ref().map(|key| key.get_ref().as_str().into()).or_else(|| {
            check.wrong(&raw.url.span(), "the service needs a key", "write access_key = \"NAME\"");
            None
        })?,
        secret_key: secret(check, raw, root)?,
    })))
}

fn endpoint(check: &mut Check<'_>, text: &schema::Text) -> Option<Box<str>> {
    let url: Result<axum::http::Uri, _> = text.get_ref().parse();
    let whole = url.is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
    if !whole {
        let cure = "write the service's address: \"https://s3.example\"";
        check.wrong(&text.span(), format!("\"{}\" is no address of a service", text.get_ref()), cure);
    }
    whole.then(|| text.get_ref().trim_end_matches('/').into())
}

fn secret(check: &mut Check<'_>, raw: &schema::Archive, root: &Path) -> Option<Secret> {
    let cure = "write secret_key_file = \"PATH\" or secret_key_env = \"NAME\"";
    let named = (&raw.secret_key_file, &raw.secret_key_env);
    if let (None, None) = named {
        check.wrong(&raw.url.span(), "the service needs a secret key", cure);
    }
    check.secret(root, named, ("secret key", cure)).map(Secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::{copy, problems};
    use std::fs;
    use tempfile::TempDir;

    fn with(section: &str) -> TempDir {
        let dir = copy(false);
        let path = dir.path().join("jiesu.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(dir.path().join("key"), "very-secret\nsecond line\n").unwrap();
        fs::write(path, format!("{text}\n[archive]\n{section}\n")).unwrap();
        dir
    }

    fn archive(section: &str) -> Archive {
        let config = Config::load(&with(section).path().join("jiesu.toml"));
        config.unwrap_or_else(|errors| panic!("{section}: {errors}")).archive.unwrap()
    }

    #[test]
    fn a_directory_and_a_service_become_settings() {
        let plain = archive("url = \"file:///mnt/archive\"");
        assert_eq!((plain.target, plain.format), (Target::Folder("/mnt/archive".into()), Format::Wav));
        assert_eq!((plain.jobs_max, plain.keep_local), (1, None));
        let text = "url = \"s3://hotline/12345/\"\nendpoint = \"https://s3.example/\"\nregion = \"cn-north-1\"\n\
                    access_key = \"AKID\"\nsecret_key_file = \"key\"\nformat = \"opus\"\nkeep_local_days = 90";
        let service = archive(text);
        assert_eq!(service.format, Format::Opus { bits_per_s: 48_000 });
        assert_eq!(service.keep_local, Some(Duration::from_secs(90 * 86_400)));
        let told = format!("{service:?}");
        let Target::S3(bucket) = service.target else { panic!("{told}") };
        assert_eq!((&*bucket.name, &*bucket.prefix), ("hotline", "12345"));
        assert_eq!(bucket.endpoint.as_deref(), Some("https://s3.example"));
        assert!(&*bucket.secret_key.0 == "very-secret" && !told.contains("very-secret"), "{told}");
    }

    #[test]
    fn every_mistake_has_its_place_and_cure() {
        let service = "url = \"s3://hotline\"\naccess_key = \"AKID\"\n";
        let cases = [
            ("url = \"ftp://x\"", "is no place for an archive", "s3://BUCKET"),
            ("url = \"file://relative\"", "names no directory", "file:///DIRECTORY"),
            ("url = \"s3://Hotline_1/x\"", "cannot name a bucket", "s3://BUCKET"),
            ("url = \"file:///x\"\nregion = \"y\"", "only an S3 service has this", "take it away"),
            ("url = \"file:///x\"\nformat = \"opsu\"", "unknown format \"opsu\"", "did you mean \"opus\"?"),
            ("url = \"file:///x\"\njobs_max = 0", "0 is out of bounds", "from 1 to 16"),
            ("url = \"s3://hotline\"\nsecret_key_file = \"key\"", "the service needs a key", "access_key"),
            (service, "the service needs a secret key", "secret_key_file"),
            (&format!("{service}secret_key_env = \"JIESU_NO_SUCH\""), "the environment has no JIESU_NO_SUCH", "PATH"),
            (&format!("{service}secret_key_file = \"nowhere\""), "cannot be read", "secret_key_env"),
            (
                &format!("{service}secret_key_file = \"key\"\nendpoint = \"s3.example\""),
                "is no address of a service",
                "https://s3.example",
            ),
        ];
        for (section, message, cure) in cases {
            let told = problems(&with(section));
            assert_eq!(told.len(), 1, "{section}: {told:#?}");
            let placed =
                told[0].starts_with("jiesu.toml:") && told[0].split(':').nth(2).unwrap().parse::<u32>().is_ok();
            assert!(placed && told[0].contains(message) && told[0].contains(cure), "{section}: {told:#?}");
        }
    }
}
