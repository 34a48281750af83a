//! MNIST and the sets in its format, Fashion-MNIST among them: four files, read by candle-datasets.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_datasets::vision;

use crate::sources::files;
use crate::{Dataset, Error};

/// Reads a folder that holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, unpacked, with `candle_datasets::vision::mnist::load_dir`. The set is called like the
/// folder, its ten classes `0` to `9`, and the three channels of its gray pictures are the same.
///
/// # Errors
/// A file is missing, or is not what its name says, or is shorter or longer than its header says; its images are not
/// square; a label is above 9; or there are not as many labels as images.
pub fn mnist(dir: &Path) -> Result<Dataset, Error> {
    for part in ["train", "t10k"] {
        let (images, labels) = (format!("{part}-images-idx3-ubyte"), format!("{part}-labels-idx1-ubyte"));
        let [count, height, width] = sizes(&dir.join(&images), 2051)?;
        let wrong = |name: &str, expected, found| Err(Error::Idx { path: dir.join(name), expected, found });
        if height != width || height == 0 {
            return wrong(&images, "square images".to_owned(), format!("{height}x{width} pixels"));
        }
        let [labeled] = sizes(&dir.join(&labels), 2049)?;
        if labeled != count {
            return wrong(&labels, format!("{count} labels, as there are images"), labeled.to_string());
        }
    }
    let mut set = Dataset::try_from(&vision::mnist::load_dir(dir)?)?;
    set.copy = format!("MNIST's four files; {}", files::counts(set.train.len(), set.test.len()));
    set.name = files::name(dir);
    Ok(set)
}

/// The sizes that the header of a file gives, which candle-datasets takes on trust: a magic number, then one number for
/// each dimension, then a byte for each value.
fn sizes<const N: usize>(path: &Path, magic: u32) -> Result<[u32; N], Error> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Missing { path: path.into(), needed: "one of MNIST's four files, unpacked" });
        }
        Err(error) => return Err(Error::io(path)(error)),
    };
    let bytes = file.metadata().map_err(Error::io(path))?.len();
    let wrong = |expected, found| Err(Error::Idx { path: path.into(), expected, found });
    let header = 4 * (1 + N as u64);
    if bytes < header {
        return wrong(format!("a header of {header} bytes"), format!("{bytes} bytes"));
    }
    let mut number = || -> Result<u32, Error> {
        let mut number = [0; 4];
        file.read_exact(&mut number).map_err(Error::io(path))?;
        Ok(u32::from_be_bytes(number))
    };
    let found = number()?;
    if found != magic {
        return wrong(format!("the magic number {magic}"), found.to_string());
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = number()?;
    }
    let values = sizes.iter().try_fold(1u64, |values, size| values.checked_mul(u64::from(*size)));
    if values != Some(bytes - header) {
        return wrong(format!("{sizes:?} values after the header"), format!("{} bytes", bytes - header));
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The four files with so many images of 2×2 pixels.
    fn written(train: u8, test: u8) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (part, n) in [("train", train), ("t10k", test)] {
            let images: Vec<u8> = (0..4 * n).collect();
            let images = [&[0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 2, 0, 0, 0, 2], &images[..]].concat();
            let labels: Vec<u8> = (0..n).map(|i| i % 10).collect();
            let labels = [&[0, 0, 8, 1, 0, 0, 0, n], &labels[..]].concat();
            std::fs::write(dir.path().join(format!("{part}-images-idx3-ubyte")), images).unwrap();
            std::fs::write(dir.path().join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
        }
        dir
    }

    #[test]
    fn four_files_are_a_set_of_gray_pictures() {
        let dir = written(20, 12);
        let set = mnist(dir.path()).unwrap();
        assert_eq!((set.name.as_str(), set.classes.len()), (files::name(dir.path()).as_str(), 10));
        assert_eq!((set.train.len(), set.test.len(), set.train.height(), set.train.width()), (20, 12, 2, 2));
        assert_eq!(set.train.labels()[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
        assert_eq!(set.test.image(11).unwrap(), [44, 44, 44, 45, 45, 45, 46, 46, 46, 47, 47, 47]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        const IMAGES: &str = "t10k-images-idx3-ubyte";
        let refused = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let dir = written(3, 3);
            let path = dir.path().join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            change(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            let error = mnist(dir.path()).unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            error[path.display().to_string().len()..].to_owned()
        };
        assert_eq!(
            refused(IMAGES, &|bytes| bytes.truncate(20)),
            ": not one of MNIST's files: expected [3, 2, 2] values after the header, found 4 bytes"
        );
        assert_eq!(
            refused(IMAGES, &|bytes| bytes[3] = 1),
            ": not one of MNIST's files: expected the magic number 2051, found 2049"
        );
        assert_eq!(
            refused(IMAGES, &|bytes| (bytes[7], bytes[11], bytes[15]) = (1, 3, 4)),
            ": not one of MNIST's files: expected square images, found 3x4 pixels"
        );
        assert_eq!(
            refused("train-labels-idx1-ubyte", &|bytes| {
                bytes[7] = 2;
                bytes.truncate(10);
            }),
            ": not one of MNIST's files: expected 3 labels, as there are images, found 2"
        );
        assert!(refused(IMAGES, &|bytes| bytes.clear()).contains("a header of 16 bytes, found 0 bytes"));
        assert!(refused(IMAGES, &|bytes| bytes[4..16].fill(255)).contains("4294967295"));
        let dir = written(1, 1);
        std::fs::remove_file(dir.path().join(IMAGES)).unwrap();
        let error = mnist(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("t10k-images-idx3-ubyte: missing: one of MNIST's four files, unpacked"), "{error}");
    }
}
