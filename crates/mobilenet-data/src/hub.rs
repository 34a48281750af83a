//! CIFAR from the Hugging Face hub, through the client that candle-datasets is built on.
//!
//! `candle_datasets::hub::from_hub` itself downloads without progress, checksum or time limit, so
//! this goes one layer down. The client fetches into `<cache>/<set>.partial`, laid out as every
//! hub cache; a file that is whole there is not fetched again, one that is not starts anew. When
//! all files match the SHA-256 under which the hub stores them, they become `<cache>/<set>` by one
//! rename. A second process waits for the first.

use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::{HFClientBuilder, HFRepositorySync, RepoTypeDataset};

use crate::sources::files;
use crate::{Error, Progress, Source};

const OWNER: &str = "uoft-cs";

/// Where and how patiently to ask.
struct Hub {
    /// Base address; `None` is the one of `HF_ENDPOINT`, or else the public hub.
    endpoint: Option<String>,
    /// How long the hub may be silent.
    patience: Duration,
}

/// Downloads a set to `<cache>/<set>`.
///
/// # Errors
///
/// [`Error::NotAvailable`] if the hub cannot be reached, is silent for 20 seconds, or sends other
/// bytes than it announced; [`Error::Io`] if `cache` cannot be written.
pub(crate) fn download(source: Source, cache: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
    Hub { endpoint: None, patience: Duration::from_secs(20) }.download(source, cache, progress)
}

/// News from the thread that downloads.
enum News {
    Alive,
    Bytes { file: String, done: u64, total: u64 },
    Done(Result<(), String>),
}

impl Hub {
    fn download(&self, source: Source, cache: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let name = source.name();
        let target = cache.join(name);
        std::fs::create_dir_all(cache).map_err(Error::io(cache))?;
        let lock_path = cache.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
        lock.lock().map_err(Error::io(&lock_path))?;
        if target.is_dir() {
            return Ok(());
        }
        let partial = cache.join(format!("{name}.partial"));
        self.fetch(name, &partial, progress)?;
        std::fs::rename(partial.join(FINISHED), &target).map_err(Error::io(&target))?;
        sync(cache)?;
        std::fs::remove_dir_all(&partial).map_err(Error::io(&partial))
    }

    /// Downloads on a thread of its own and waits for it, but not for ever: the client knows no
    /// time limit. A silent thread is left behind; it ends with its connection.
    fn fetch(&self, name: &str, partial: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let failed = |reason: String| Error::NotAvailable {
            name: name.into(),
            reason: format!("download of {OWNER}/{name} failed: {reason}"),
        };
        let (news, receiver) = channel();
        let job =
            Job { endpoint: self.endpoint.clone(), name: name.into(), partial: partial.into(), news: news.clone() };
        std::thread::Builder::new()
            .name("download".into())
            .spawn(move || {
                let result = job.run();
                // Nobody listens any more if it took too long.
                let _ = news.send(News::Done(result));
            })
            .map_err(|e| failed(e.to_string()))?;
        loop {
            match receiver.recv_timeout(self.patience) {
                Ok(News::Alive) => {}
                Ok(News::Bytes { file, done, total }) => {
                    progress(Progress::Downloading { file, done, total });
                }
                Ok(News::Done(result)) => return result.map_err(failed),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(failed(format!("no answer for {:?}", self.patience)));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(failed("the download ended without a result".into()));
                }
            }
        }
    }
}

/// Subfolder of the partial download with the files that are whole, when all are.
const FINISHED: &str = "finished";

/// What the downloading thread does.
struct Job {
    endpoint: Option<String>,
    name: String,
    partial: PathBuf,
    news: Sender<News>,
}

impl Job {
    fn run(&self) -> Result<(), String> {
        let mut builder = HFClientBuilder::new().cache_dir(&self.partial).retry_max_attempts(2);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        let client = builder.build_sync().map_err(|e| chain(&e))?;
        let repo = client.dataset(OWNER, &self.name);
        let info = repo.info().revision("main").send().map_err(|e| chain(&e))?;
        self.alive();
        let commit = info.sha.ok_or("the hub names no commit")?;
        let names = info.siblings.unwrap_or_default().into_iter().map(|s| s.rfilename);
        let names: Vec<String> = names.filter(|name| wanted(name)).collect();
        if !["train", "test"].iter().all(|part| names.iter().any(|n| file_name(n).starts_with(part))) {
            return Err("the hub lists no train*.parquet and test*.parquet".into());
        }
        let mut paths = Vec::new();
        for name in &names {
            paths.push(self.file(&repo, &commit, name)?);
        }
        self.finish(&names, &paths).map_err(|e| e.to_string())
    }

    /// Downloads one file and checks it. The hub stores it under its SHA-256.
    fn file(&self, repo: &HFRepositorySync<RepoTypeDataset>, commit: &str, name: &str) -> Result<PathBuf, String> {
        let reporter = Reporter { file: file_name(name).into(), news: self.news.clone() };
        let request = repo.download_file().filename(name).revision(commit).progress(reporter);
        let path = request.send().map_err(|e| chain(&e))?;
        self.alive();
        let sum = files::sha256(&path).map_err(|e| e.to_string())?;
        self.alive();
        let blobs = format!("datasets--{OWNER}--{}/blobs", self.name);
        if !self.partial.join(blobs).join(&sum).is_file() {
            // Nothing of it can be trusted: the next try begins anew.
            let _ = std::fs::remove_dir_all(&self.partial);
            return Err(format!("{name}: checksum mismatch: its SHA-256 is {sum}"));
        }
        path.canonicalize().map_err(|e| format!("{name}: {e}"))
    }

    /// Moves the files, all whole, to [`FINISHED`].
    fn finish(&self, names: &[String], paths: &[PathBuf]) -> Result<(), Error> {
        let finished = self.partial.join(FINISHED);
        std::fs::create_dir_all(&finished).map_err(Error::io(&finished))?;
        for (name, path) in names.iter().zip(paths) {
            File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))?;
            std::fs::rename(path, finished.join(file_name(name))).map_err(Error::io(path))?;
        }
        sync(&finished)
    }

    fn alive(&self) {
        // Nobody listens any more if it took too long.
        let _ = self.news.send(News::Alive);
    }
}

/// Passes the client's progress on.
struct Reporter {
    file: String,
    news: Sender<News>,
}

impl ProgressHandler for Reporter {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else { return };
        let (done, total) = match event {
            DownloadEvent::Start { total_bytes, .. } => (0, *total_bytes),
            DownloadEvent::Progress { files } => match files.last() {
                Some(file) => (file.bytes_completed, file.total_bytes),
                None => return,
            },
            DownloadEvent::AggregateProgress { bytes_completed, total_bytes, .. } => (*bytes_completed, *total_bytes),
            DownloadEvent::Complete => return,
        };
        // Nobody listens any more if it took too long.
        let _ = self.news.send(News::Bytes { file: self.file.clone(), done, total });
    }
}

/// A training or test file, at a path that stays inside its folder.
fn wanted(name: &str) -> bool {
    let plain = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
    let file = file_name(name);
    plain && file.ends_with(".parquet") && (file.starts_with("train") || file.starts_with("test"))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Makes the names in a folder last.
fn sync(dir: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))?;
    }
    Ok(())
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests;
