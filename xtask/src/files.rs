//! Writing a file, with its name in the error.

use std::path::Path;

use anyhow::{Context as _, Result};
use mobilenet_common::files;

/// Writes a file so that it is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
