//! From what a list calls a picture to its file. Only files below the list's folder are found, whatever it says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::walk::find_pictures;
use crate::Error;

/// The pictures below a folder.
pub(super) struct Lookup {
    paths: Vec<PathBuf>,
    /// By path below the folder, with `/`.
    by_path: HashMap<String, usize>,
    /// By name, and by name without its ending; `None` where several have it.
    by_name: HashMap<String, Option<usize>>,
    by_stem: HashMap<String, Option<usize>>,
    /// A folder to look in first.
    first: Option<String>,
}

impl Lookup {
    pub fn new(dir: &Path) -> Result<Self, Error> {
        let paths = find_pictures(dir)?.pictures;
        let mut lookup = Self {
            paths: Vec::new(),
            by_path: HashMap::new(),
            by_name: HashMap::new(),
            by_stem: HashMap::new(),
            first: None,
        };
        for (i, path) in paths.iter().enumerate() {
            let below = path.strip_prefix(dir).unwrap_or(path);
            lookup.by_path.insert(slashed(below), i);
            for (map, name) in [(&mut lookup.by_name, path.file_name()), (&mut lookup.by_stem, path.file_stem())] {
                if let Some(name) = name {
                    map.entry(name.to_string_lossy().into_owned()).and_modify(|known| *known = None).or_insert(Some(i));
                }
            }
        }
        lookup.paths = paths;
        Ok(lookup)
    }

    /// Makes [`find`](Self::find) look in this folder first: that of a part.
    pub fn prefer(&mut self, folder: &str) {
        self.first = Some(folder.to_owned());
    }

    /// The file of this path or name; of a longer path than there is, the end; the ending may be missing.
    pub fn find(&self, file: &str) -> Option<&PathBuf> {
        let file = file.replace('\\', "/");
        let parts: Vec<&str> = file.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let name = parts.last()?;
        let preferred = self.first.as_ref().and_then(|first| self.by_path.get(&format!("{first}/{name}")));
        let by_path = || (0..parts.len()).find_map(|from| self.by_path.get(&parts[from..].join("/")));
        let unique = |map: &HashMap<String, Option<usize>>| map.get(*name).copied().flatten();
        let at = preferred.copied().or_else(|| by_path().copied()).or_else(|| unique(&self.by_name));
        at.or_else(|| unique(&self.by_stem)).and_then(|at| self.paths.get(at))
    }

    /// All pictures.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.paths.iter()
    }
}

fn slashed(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn paths_names_and_stems() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/0.png", "b/0.png", "b/only.jpg", "c/deep/er.png"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mut lookup = Lookup::new(dir.path()).unwrap();
        for (file, expected) in [
            ("a/0.png", Some("a/0.png")),
            ("./b/0.png", Some("b/0.png")),
            ("b\\0.png", Some("b/0.png")),
            ("/kaggle/input/b/0.png", Some("b/0.png")),
            ("only.jpg", Some("b/only.jpg")),
            ("only", Some("b/only.jpg")),
            ("er", Some("c/deep/er.png")),
            // Two have this name.
            ("0.png", None),
            ("0", None),
            ("../../etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(lookup.find(file), expected.map(|name| dir.path().join(name)).as_ref(), "{file}");
        }
        lookup.prefer("b");
        assert_eq!(lookup.find("0.png"), Some(&dir.path().join("b/0.png")));
    }
}
