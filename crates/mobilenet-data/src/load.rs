//! From a wish (`auto`, `cifar10`, …, a folder) to a data set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::sources::load_dir;
use crate::sources::shapes10::{self, Shapes};
use crate::{Dataset, Error};

/// Where pictures come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The data folder, whatever is in it, if one is given; else CIFAR-10 from the cache or the
    /// hub; else, if it cannot be had, [`Source::Shapes10`], marked as [`Dataset::fallback`].
    #[default]
    Auto,
    /// CIFAR-10 from the data folder, the cache or the hub, or an error.
    Cifar10,
    /// CIFAR-100 (fine labels) from the data folder, the cache or the hub, or an error.
    Cifar100,
    /// Ten classes of pictures drawn by code.
    Shapes10,
    /// `train/<class>/*` and `test/<class>/*` (or `val`) in the data folder.
    Folder,
}

impl Source {
    /// Every source, in the order of their description.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Cifar10, Self::Cifar100, Self::Shapes10, Self::Folder];

    /// The name that [`FromStr`] takes and [`fmt::Display`] gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::Shapes10 => "shapes10",
            Self::Folder => "folder",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|source| source.name() == name)
            .ok_or_else(|| Error::UnknownSource { expected: Self::ALL.map(Self::name).join(", "), found: name.into() })
    }
}

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where from.
    pub source: Source,
    /// A folder with a data set. If given it must hold one: nothing else is tried.
    pub data_dir: Option<PathBuf>,
    /// Where downloads are kept: `<cache_dir>/cifar10` and so on. `None` is `mobilenet` in the
    /// user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// Side that the pictures of image folders are scaled to. The other sets have their own.
    pub image_size: usize,
    /// How much of `shapes10` to draw.
    pub shapes: Shapes,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { source: Source::Auto, data_dir: None, cache_dir: None, image_size: 32, shapes: Shapes::default() }
    }
}

/// What [`load`] is doing. Said on the thread that called it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A file is being downloaded.
    Downloading {
        /// Its name.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, 0 if not known.
        total: u64,
    },
    /// Pictures of a file or folder are being read.
    Reading {
        /// Its name.
        file: String,
        /// Pictures so far.
        done: u64,
        /// Pictures in all.
        total: u64,
    },
    /// CIFAR-10 could not be had; `shapes10` takes its place.
    FallingBack {
        /// Why it could not be had, in one line.
        reason: String,
    },
}

/// Loads a data set; see [`Source`] for what is tried.
///
/// # Errors
///
/// A variant of [`Error`] that names the file or folder, what was expected there and what was
/// found. [`Source::Auto`] without a data folder fails only if the cache holds a broken copy.
pub fn load(options: &LoadOptions, progress: &mut dyn FnMut(Progress)) -> Result<Dataset, Error> {
    let source = options.source;
    if let Some(dir) = &options.data_dir {
        return match source {
            Source::Shapes10 => Err(Error::TakesNoDataDir { path: dir.clone() }),
            _ => load_dir(dir, source, options.image_size, progress),
        };
    }
    match source {
        Source::Shapes10 => shapes10::load(&options.shapes),
        Source::Folder => Err(Error::NeedsDataDir { source_name: source.to_string() }),
        Source::Cifar10 | Source::Cifar100 => from_cache_or_hub(source, options, progress),
        Source::Auto => match from_cache_or_hub(Source::Cifar10, options, progress) {
            Err(error @ Error::NotAvailable { .. }) => {
                progress(Progress::FallingBack { reason: error.to_string() });
                Ok(Dataset { fallback: true, ..shapes10::load(&options.shapes)? })
            }
            other => other,
        },
    }
}

fn from_cache_or_hub(
    source: Source,
    options: &LoadOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    let unavailable = |reason: &str| Error::NotAvailable { name: source.to_string(), reason: reason.into() };
    let cache = options.cache_dir.clone().or_else(default_cache);
    let cache = cache.ok_or_else(|| unavailable("no cache folder: neither XDG_CACHE_HOME nor HOME is set"))?;
    let dir = cache.join(source.name());
    if !dir.is_dir() {
        #[cfg(feature = "hub")]
        crate::hub::download(source, &cache, progress)?;
        #[cfg(not(feature = "hub"))]
        return Err(unavailable(&format!(
            "no data folder was given, {} does not exist, and this build has no download \
             (feature hub)",
            dir.display()
        )));
    }
    load_dir(&dir, source, options.image_size, progress)
}

/// `mobilenet` in the user's cache folder.
fn default_cache() -> Option<PathBuf> {
    let dir = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    dir("XDG_CACHE_HOME")
        .or_else(|| dir("HOME").map(|home| home.join(".cache")))
        .or_else(|| dir("LOCALAPPDATA"))
        .map(|cache| cache.join("mobilenet"))
}
