//! From a wish (`auto`, `cifar10`, …, a folder) to a data set.

use std::path::PathBuf;

use crate::decode::check_size;
use crate::sources::drawn::Drawn;
use crate::sources::load_dir;
use crate::sources::scanned::How;
use crate::sources::{flaws, shapes10};
use crate::{Dataset, Error, Progress, ReadOptions, Source};

/// [`LoadOptions::picture_cache`] unless another is asked for: 1 GB.
pub const DEFAULT_PICTURE_CACHE: u64 = 1_000_000_000;

/// What to load.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Where from.
    pub source: Source,
    /// A folder with a data set, or a file that is one: an archive of CIFAR, parquet, a list. If given it must hold one:
    /// nothing else is tried.
    pub data_dir: Option<PathBuf>,
    /// Where downloads are kept: `<cache_dir>/cifar10` and so on. `None` is `mobilenet` in the
    /// user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// Whether to do without the hub: what is neither in `data_dir` nor in the cache is then not to be had. So it is with
    /// `HF_HUB_OFFLINE=1` in the environment, too.
    pub offline: bool,
    /// Side that pictures are scaled to, and those of `flaws` are drawn with. CIFAR and `shapes10` keep their own size
    /// unless `read.scale_all` is set.
    pub image_size: usize,
    /// How folders, lists and parquet are read.
    pub read: ReadOptions,
    /// Most bytes of pictures that are kept in memory. Of a folder, a list or parquet that has more of them, scaled,
    /// pictures are decoded when they are needed, each time anew; what batches hold is the same. Other sets are always
    /// kept.
    pub picture_cache: u64,
    /// How much of `shapes10` or `flaws` to draw; `None` is 10,000 and 2,000 of `shapes10`, 4,200 and 1,400 of `flaws`.
    pub drawn: Option<Drawn>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            data_dir: None,
            cache_dir: None,
            offline: false,
            image_size: 32,
            read: ReadOptions::default(),
            picture_cache: DEFAULT_PICTURE_CACHE,
            drawn: None,
        }
    }
}

/// Loads a data set; see [`Source`] for what is tried.
///
/// # Errors
///
/// A variant of [`Error`] that names the file or folder, what was expected there and what was
/// found. [`Source::Auto`] without a data folder fails only if the cache holds a broken copy.
pub fn load(options: &LoadOptions, progress: &mut dyn FnMut(Progress)) -> Result<Dataset, Error> {
    check_size(options.image_size)?;
    options.read.validate()?;
    let dataset = at_own_size(options, progress)?;
    if options.read.scale_all { dataset.scaled(options.image_size) } else { Ok(dataset) }
}

fn at_own_size(options: &LoadOptions, progress: &mut dyn FnMut(Progress)) -> Result<Dataset, Error> {
    let source = options.source;
    if let Some(dir) = &options.data_dir {
        return match source {
            Source::Shapes10 | Source::Flaws => Err(Error::TakesNoDataDir { path: dir.clone() }),
            _ => load_dir(dir, source, &how(options), progress),
        };
    }
    match source {
        Source::Shapes10 => shapes10::drawing().load(options.drawn),
        Source::Flaws => flaws::drawing(options.image_size).load(options.drawn),
        Source::Folder => Err(Error::NeedsDataDir { source_name: source.to_string() }),
        Source::Cifar10 | Source::Cifar100 => from_cache_or_hub(source, options, progress),
        Source::Auto => match from_cache_or_hub(Source::Cifar10, options, progress) {
            Err(error @ Error::NotAvailable { .. }) => {
                progress(Progress::FallingBack { reason: error.to_string() });
                Ok(Dataset { fallback: true, ..shapes10::drawing().load(options.drawn)? })
            }
            other => other,
        },
    }
}

fn how(options: &LoadOptions) -> How<'_> {
    let LoadOptions { image_size, ref read, picture_cache, .. } = *options;
    let cache = options.cache_dir.clone().or_else(default_cache);
    How { size: image_size, options: read, cache: picture_cache, temporary: cache.unwrap_or_else(std::env::temp_dir) }
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
        let missing =
            |why: &str| unavailable(&format!("no data folder was given, {} does not exist, and {why}", dir.display()));
        if options.offline {
            return Err(missing("nothing is to be downloaded"));
        }
        #[cfg(feature = "hub")]
        crate::hub::download_cifar(source, &cache, progress)?;
        #[cfg(not(feature = "hub"))]
        return Err(missing("this build has no download (feature hub)"));
    }
    load_dir(&dir, source, &how(options), progress)
}

/// `mobilenet` in the user's cache folder.
#[must_use]
pub fn default_cache() -> Option<PathBuf> {
    let dir = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    dir("XDG_CACHE_HOME")
        .or_else(|| dir("HOME").map(|home| home.join(".cache")))
        .or_else(|| dir("LOCALAPPDATA"))
        .map(|cache| cache.join("mobilenet"))
}
