//! The way from `jiesu diff` and `jiesu reload` to the node that runs: a socket in its data folder.
//!
//! A Unix-domain socket and not the HTTP API, for the system itself says who asks: only the user the node runs as, and root,
//! are heard. So no secret stands on a command line, no port is needed, and it works when the tokens are what is to be
//! mended. One line of JSON is asked and one answered, one asker at a time. Never reads or changes a configuration.

use crate::config::outline::Change;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Longest question in bytes: it holds one path.
const QUESTION_MAX: u64 = 16 << 10;
/// Longest answer in bytes that is read.
const ANSWER_MAX: u64 = 4 << 20;
/// Most differences told in one answer.
pub(super) const CHANGES_MAX: usize = 1_000;
/// How long a question may take to come, and an answer to be taken.
const ASKER_MAX: Duration = Duration::from_secs(2);
/// How long is waited for an answer: all files and prompts are read before.
const NODE_MAX: Duration = Duration::from_secs(60);
/// Between two tries to accept when the process has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// What is wanted of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wanted {
    /// Tell what a reload would change.
    Diff,
    /// Reload.
    Reload,
}

/// One line to the node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub wanted: Wanted,
    /// Which files are meant: those of this node, or they are not taken for its own.
    pub config: PathBuf,
}

/// One line back.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// What differs, or has been changed.
    Told(Differences),
    /// Nothing was changed, for this reason.
    Refused(String),
}

/// Between what the node has taken and what the files say.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Differences {
    /// [`CHANGES_MAX`] at most.
    pub changes: Vec<Change>,
    /// How many are left out.
    pub more: usize,
    /// What cannot change while the node runs.
    pub fixed: Vec<String>,
}

/// Where the node listens.
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Opens it. The journal's lock has made sure that no other node runs on this folder: what is there is a dead one's.
    pub(super) fn open(data_dir: &Path) -> io::Result<Door> {
        let path = socket(data_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Door { listener, path })
    }

    /// The next question of one who may ask, and where to answer.
    pub(super) async fn asked(&self) -> (Question, UnixStream) {
        loop {
            let mut stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no question is taken at the control socket");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            match tokio::time::timeout(ASKER_MAX, question(&mut stream)).await {
                Ok(Ok(question)) => return (question, stream),
                Ok(Err(error)) => tracing::warn!(%error, "a question at the control socket is not understood"),
                Err(_) => tracing::warn!("nothing was asked at the control socket in time"),
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // The next node removes what is left.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn question(stream: &mut UnixStream) -> io::Result<Question> {
    let (asker, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    // Between its making and its mode the socket may be open to more.
    if asker != own && asker != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {asker} may not ask")));
    }
    let mut line = Vec::new();
    tokio::io::BufReader::new(stream.take(QUESTION_MAX)).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

/// Answers. Who does not listen any more is left alone.
pub(super) async fn answer(mut stream: UnixStream, answer: &Answer) {
    let mut line = serde_json::to_vec(answer).expect("plain data");
    line.push(b'\n');
    let _ = tokio::time::timeout(ASKER_MAX, stream.write_all(&line)).await;
}

/// Asks the node that runs on `data_dir`.
///
/// # Errors
/// None runs there, or it says nothing in time.
pub(super) fn ask(data_dir: &Path, question: &Question) -> anyhow::Result<Answer> {
    let path = socket(data_dir);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).with_context(|| {
        format!(
            "no node of this user is reached at {}: start one with `jiesu serve`, name its files with --config, \
             and leave [node] data_dir as it was when it started",
            path.display()
        )
    })?;
    stream.set_read_timeout(Some(NODE_MAX))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_until(b'\n', &mut line).context("the node gave no answer")?;
    if line.is_empty() {
        bail!("the node ended before it answered: see its log");
    }
    serde_json::from_slice(&line).context("the node's answer is not understood: is it of this version?")
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("control")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(path: PathBuf, bytes: &'static [u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn nonsense_is_hung_up_on_and_the_next_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(socket(folder.path()), "of a node that crashed").unwrap();
        let door = Door::open(folder.path()).unwrap();
        assert_eq!(std::fs::metadata(&door.path).unwrap().permissions().mode() & 0o777, 0o600);
        let path = door.path.clone();
        let asked = tokio::spawn(async move {
            let (question, stream) = door.asked().await;
            answer(stream, &Answer::Refused("no".into())).await;
            (question.wanted, question.config)
        });
        assert_eq!(said(path.clone(), b"rubbish\n").await, "");
        let folder_path = folder.path().to_path_buf();
        let question = Question { wanted: Wanted::Diff, config: "a.toml".into() };
        let answer = tokio::task::spawn_blocking(move || ask(&folder_path, &question)).await.unwrap().unwrap();
        assert_eq!(answer, Answer::Refused("no".into()));
        assert_eq!(asked.await.unwrap(), (Wanted::Diff, PathBuf::from("a.toml")));
        assert!(!path.exists(), "a door that is gone leaves nothing");
        let error = ask(folder.path(), &Question { wanted: Wanted::Reload, config: "a".into() }).unwrap_err();
        assert!(error.to_string().contains("no node of this user is reached"), "{error}");
    }
}
