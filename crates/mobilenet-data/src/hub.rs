//! Image sets of the Hugging Face hub, downloaded once.
//!
//! Files go to `<cache>/<set>.partial/<commit>`, and what is there of a file is not fetched again: a download that was
//! cut goes on where it stopped. Each file must have the size and the SHA-256 that the hub lists; when all have, they
//! become `<cache>/<set>` by one rename. A second process waits for the first.
//!
//! The environment is that of the hub's own tools: `HF_ENDPOINT` names another hub, `HF_TOKEN`, or the file
//! `HF_TOKEN_PATH` or `$HF_HOME/token`, a token for sets that are not public; `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`
//! are respected; `HF_HUB_OFFLINE=1` forbids every download.

mod client;
mod listing;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use self::client::Client;
use self::listing::{Remote, Repository, choose};
use crate::sources::files;
use crate::{Error, Progress, Source};

/// How often a file is begun, or gone on with, before it is given up.
const ATTEMPTS: usize = 3;

/// Downloads an image set of the hub, `owner/name` or `owner/name/configuration`, unless it is in the cache already
/// (`None` is `mobilenet` in the user's cache folder), and returns the folder that holds its parquet files.
///
/// A set without parquet files of its own is taken as the hub converts it.
///
/// # Errors
///
/// [`Error::NotAvailable`] for a name that is none, a set that the hub does not have or does not give without a token,
/// one with several configurations of which none was named, and a hub that cannot be reached, is silent for 20
/// seconds, or sends other bytes than it announced; [`Error::Io`] if the cache cannot be written.
pub fn download(name: &str, cache: Option<&Path>, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, Error> {
    let repository = Repository::parse(name).ok_or_else(|| Error::NotAvailable {
        name: name.into(),
        reason: "expected the hub's name of a set, owner/name or owner/name/configuration".into(),
    })?;
    let cache = match cache {
        Some(cache) => cache.to_owned(),
        None => crate::load::default_cache().ok_or_else(|| Error::NotAvailable {
            name: name.into(),
            reason: "no cache folder: neither XDG_CACHE_HOME nor HOME is set".into(),
        })?,
    };
    let target = cache.join(repository.folder());
    Hub { client: Client::from_env(), repository, target: target.clone() }.download(progress)?;
    Ok(target)
}

/// CIFAR-10 or CIFAR-100, to `<cache>/cifar10` or `<cache>/cifar100`.
pub(crate) fn download_cifar(source: Source, cache: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
    let repository = Repository { id: format!("uoft-cs/{source}"), configuration: None };
    Hub { client: Client::from_env(), repository, target: cache.join(source.name()) }.download(progress)
}

/// A set that is to be had.
struct Hub {
    client: Client,
    repository: Repository,
    /// The folder that its files end in
    target: PathBuf,
}

impl Hub {
    fn download(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        if self.target.is_dir() {
            return Ok(());
        }
        if self.client.is_offline() {
            let reason = "it is not in the cache, and HF_HUB_OFFLINE forbids a download".into();
            return Err(Error::NotAvailable { name: self.repository.to_string(), reason });
        }
        let cache = self.target.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(cache).map_err(Error::io(cache))?;
        let lock_path = self.beside("lock");
        let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
        lock.lock().map_err(Error::io(&lock_path))?;
        if self.target.is_dir() {
            return Ok(());
        }
        let failed = |reason: String| Error::NotAvailable {
            name: self.repository.to_string(),
            reason: format!("download failed: {reason}"),
        };
        let (revision, listed) = self.list().map_err(failed)?;
        let partial = self.beside("partial");
        let folder = partial.join(&revision);
        for remote in &listed {
            self.file(&revision, remote, &folder, progress)?.map_err(failed)?;
        }
        sync(&folder)?;
        std::fs::rename(&folder, &self.target).map_err(Error::io(&self.target))?;
        sync(cache)?;
        std::fs::remove_dir_all(&partial).map_err(Error::io(&partial))
    }

    /// The commit, and the files of the set in it.
    fn list(&self) -> Result<(String, Vec<Remote>), String> {
        let commit = self.client.commit(&self.repository.id, "main")?;
        let own = self.client.files(&self.repository.id, &commit)?;
        if let Some(chosen) = choose(&own, self.repository.configuration.as_deref())? {
            return Ok((commit, chosen));
        }
        // What is kept as plain pictures or archives, the hub converts.
        let converted = self.client.commit(&self.repository.id, "refs%2Fconvert%2Fparquet")?;
        let files = self.client.files(&self.repository.id, &converted)?;
        match choose(&files, self.repository.configuration.as_deref())? {
            Some(chosen) => Ok((converted, chosen)),
            None => Err("the hub lists no train*.parquet with test, validation or other parts".into()),
        }
    }

    /// Downloads one file, or what is missing of it.
    ///
    /// The outer error is one of this machine, the inner one of the hub.
    fn file(
        &self,
        revision: &str,
        remote: &Remote,
        folder: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<(), String>, Error> {
        let path = folder.join(&remote.local);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
            let done = file.metadata().map_err(Error::io(&path))?.len();
            if done < remote.size {
                match self.client.open(&self.repository.id, revision, &remote.path, done) {
                    Ok((mut body, from)) => {
                        // A server that knows no ranges begins anew.
                        file.set_len(from).map_err(Error::io(&path))?;
                        reason = copy(&mut body, &mut file, from, remote, progress).map_err(Error::io(&path))?;
                    }
                    Err(error) if error.is_final() => return Ok(Err(format!("{}: {error}", remote.path))),
                    Err(error) => reason = error.to_string(),
                }
            }
            file.sync_all().map_err(Error::io(&path))?;
            let done = file.metadata().map_err(Error::io(&path))?.len();
            if done < remote.size {
                continue;
            }
            let sum = files::sha256(&path)?;
            if done == remote.size && remote.sha256.as_ref().is_none_or(|wanted| *wanted == sum) {
                return Ok(Ok(()));
            }
            // Nothing of it can be trusted: the next try begins anew.
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
            reason = format!("checksum mismatch: its SHA-256 is {sum}");
        }
        Ok(Err(format!("{}: {reason}", remote.path)))
    }

    /// `<target>.<ending>`
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.target.clone().into_os_string();
        name.push(format!(".{ending}"));
        name.into()
    }
}

/// Appends the rest of a file. What the connection breaks off with is returned, what the disk does is an error.
fn copy(
    body: &mut dyn Read,
    file: &mut File,
    from: u64,
    remote: &Remote,
    progress: &mut dyn FnMut(Progress),
) -> std::io::Result<String> {
    let name = files::name(&remote.local);
    let mut done = from;
    let mut buffer = vec![0; 1 << 17];
    loop {
        progress(Progress::Downloading { file: name.clone(), done, total: remote.size });
        match body.read(&mut buffer) {
            Ok(0) if done < remote.size => return Ok(format!("the connection ended after {done} bytes")),
            Ok(0) => return Ok(String::new()),
            Ok(n) => {
                file.write_all(&buffer[..n])?;
                done += n as u64;
                if done > remote.size {
                    return Ok(format!("more than the {} bytes that the hub lists", remote.size));
                }
            }
            Err(error) => return Ok(error.to_string()),
        }
    }
}

/// Makes the names in a folder last.
fn sync(dir: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
