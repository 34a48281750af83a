//! Which files of a repository are an image set.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

/// `owner/name`, or `owner/name/configuration`.
pub struct Repository {
    /// `owner/name`
    pub id: String,
    /// The part of the set that was asked for, for sets that have several
    pub configuration: Option<String>,
}

impl Repository {
    /// `None` if this is no such name.
    pub fn parse(name: &str) -> Option<Self> {
        let is_word = |word: &&str| {
            !word.is_empty()
                && !word.starts_with('.')
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let words: Vec<&str> = name.split('/').collect();
        if !words.iter().all(is_word) {
            return None;
        }
        match words[..] {
            [owner, name] => Some(Self { id: format!("{owner}/{name}"), configuration: None }),
            [owner, name, part] => Some(Self { id: format!("{owner}/{name}"), configuration: Some(part.into()) }),
            _ => None,
        }
    }

    /// Where it lies in the cache.
    pub fn folder(&self) -> PathBuf {
        Path::new("hub").join(self.to_string().replace('/', "--"))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        match &self.configuration {
            Some(part) => write!(f, "/{part}"),
            None => Ok(()),
        }
    }
}

/// An entry of the hub's list of files.
#[derive(Deserialize)]
pub struct Entry {
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

/// How the hub keeps a large file: by its SHA-256.
#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

/// A file to fetch.
#[derive(Debug, PartialEq, Eq)]
pub struct Remote {
    /// In the repository
    pub path: String,
    /// In the folder of the set
    pub local: PathBuf,
    /// Bytes
    pub size: u64,
    /// In hexadecimal; small files have none
    pub sha256: Option<String>,
}

/// The parquet files of one configuration, under the names that a folder of parquet has here; `None` if there are no
/// parquet files at all.
///
/// A configuration is what comes before the name of the part: `data` in `data/train-00000-of-00002.parquet`, `default`
/// in `default/train/0000.parquet`.
///
/// # Errors
/// Several configurations of which none was named, or none of the name.
pub fn choose(entries: &[Entry], wanted: Option<&str>) -> Result<Option<Vec<Remote>>, String> {
    let found: Vec<(String, Remote)> = entries.iter().filter_map(place).collect();
    let names: BTreeSet<&str> = found.iter().map(|(configuration, _)| configuration.as_str()).collect();
    let listed = || names.iter().copied().collect::<Vec<_>>().join(", ");
    let one = match wanted {
        _ if names.is_empty() => return Ok(None),
        Some(wanted) if names.contains(wanted) => wanted.to_owned(),
        Some(wanted) => return Err(format!("there is no configuration {wanted}, expected one of: {}", listed())),
        None => match ["default", "data", "plain_text", ""].iter().find(|&&name| names.contains(name)) {
            Some(&usual) => usual.to_owned(),
            None if names.len() == 1 => listed(),
            None => return Err(format!("it has several configurations, name one as owner/name/X: {}", listed())),
        },
    };
    Ok(Some(found.into_iter().filter(|(name, _)| *name == one).map(|(_, remote)| remote).collect()))
}

/// The configuration and the place of a parquet file whose path stays inside its folder.
fn place(entry: &Entry) -> Option<(String, Remote)> {
    let path = Path::new(&entry.path);
    let words: Option<Vec<&str>> = path
        .components()
        .map(|component| match component {
            Component::Normal(word) => word.to_str(),
            _ => None,
        })
        .collect();
    let words = words?;
    let (&file, folders) = words.split_last()?;
    if !file.ends_with(".parquet") || file.starts_with('.') || file.contains('\\') {
        return None;
    }
    // The hub's own conversion names its files 0000.parquet and so on, in a folder for each part.
    let in_part = file.bytes().next().is_some_and(|b| b.is_ascii_digit());
    let (local, configuration) = match folders.split_last() {
        Some((part, rest)) if in_part => (Path::new(part).join(file), rest),
        _ => (PathBuf::from(file), folders),
    };
    let (size, sha256) = match &entry.lfs {
        Some(lfs) => (lfs.size, Some(lfs.oid.trim_start_matches("sha256:").to_ascii_lowercase())),
        None => (entry.size, None),
    };
    Some((configuration.join("/"), Remote { path: entry.path.clone(), local, size, sha256 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(paths: &[&str], wanted: Option<&str>) -> Result<Option<Vec<PathBuf>>, String> {
        let entries: Vec<Entry> = paths.iter().map(|&path| Entry { path: path.into(), size: 1, lfs: None }).collect();
        Ok(choose(&entries, wanted)?.map(|files| files.into_iter().map(|file| file.local).collect()))
    }

    #[test]
    fn a_configuration_is_chosen_by_name_or_because_it_is_the_usual_one() {
        let own = ["README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"];
        let want = ["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"].map(PathBuf::from);
        assert_eq!(chosen(&own, None), Ok(Some(want.to_vec())));
        let converted = ["default/train/0000.parquet", "default/train/0001.parquet", "small/train/0000.parquet"];
        let want = ["train/0000.parquet", "train/0001.parquet"].map(PathBuf::from);
        assert_eq!(chosen(&converted, None), Ok(Some(want.to_vec())));
        assert_eq!(chosen(&converted, Some("small")), Ok(Some(vec!["train/0000.parquet".into()])));
        let error = chosen(&["a/train/0.parquet", "b/train/0.parquet"], None).unwrap_err();
        assert!(error.ends_with("a, b"), "{error}");
        assert!(chosen(&converted, Some("large")).unwrap_err().contains("default, small"));
        assert_eq!(chosen(&["train/cat/1.jpg", "archive.zip"], None), Ok(None));
    }

    #[test]
    fn a_path_stays_in_its_folder() {
        for path in ["../train.parquet", "/etc/train.parquet", "data/../../train-0.parquet", "..parquet"] {
            assert_eq!(chosen(&[path], None), Ok(None), "{path}");
        }
    }

    #[test]
    fn a_name_is_two_or_three_words() {
        for (name, id, part) in [("a/b", "a/b", None), ("a/b.c/d-e", "a/b.c", Some("d-e"))] {
            let found = Repository::parse(name).unwrap();
            assert_eq!((found.id.as_str(), found.configuration.as_deref()), (id, part));
        }
        for name in ["", "a", "a/", "a//b", "a/b/c/d", "../b", "a/b c", "a/b?x", "https://hub/a/b"] {
            assert!(Repository::parse(name).is_none(), "{name}");
        }
    }
}
