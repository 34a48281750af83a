//! What the fuzz targets share: the readers of the seeded mutations that are tested on every compiler
//! (`crates/mobilenet-cli/tests/mutations`), and a file for the bytes that a target is given.

#[path = "../../crates/mobilenet-cli/tests/mutations/read.rs"]
pub mod read;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Calls `read` with a file of these bytes and of this name, in a folder of this process.
pub fn with_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("mobilenet-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for temporary files");
        folder
    });
    let path = folder.join(name);
    fs::write(&path, bytes).expect("room for a temporary file");
    read(&path)
}
