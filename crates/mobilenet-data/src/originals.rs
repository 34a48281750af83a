//! Pictures as their files have them, decoded when they are needed.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;
use mobilenet_common::files;

use crate::decode::{MAX_PICTURE_BYTES, decode_rgb, square};
use crate::{Error, Place};

/// The encoded pictures of a split, in its order.
#[derive(Clone, Debug)]
pub(crate) struct Originals {
    store: Arc<Store>,
    /// Where each picture is in the store.
    places: Vec<usize>,
    /// What tells the contents of each, scaled, from those of others.
    contents: Vec<u64>,
    /// What a picture's shorter side is scaled to before it is cut.
    short: usize,
}

impl Originals {
    pub fn new(store: Arc<Store>, places: Vec<usize>, contents: Vec<u64>, short: usize) -> Self {
        Self { store, places, contents, short }
    }

    pub fn contents(&self) -> &[u64] {
        &self.contents
    }

    /// The pictures of the given indices, which must be in range.
    pub fn pick(&self, indices: &[usize]) -> Self {
        let places = indices.iter().map(|&i| self.places[i]).collect();
        let contents = indices.iter().map(|&i| self.contents[i]).collect();
        Self { store: Arc::clone(&self.store), places, contents, short: self.short }
    }

    pub fn truncate(&mut self, n: usize) {
        self.places.truncate(n);
        self.contents.truncate(n);
    }

    /// Picture `i`, which must be in range, at its own size.
    pub fn decode(&self, i: usize) -> Result<RgbImage, Error> {
        let place = self.places[i];
        let bytes = self.store.bytes(place)?;
        decode_rgb(&bytes).map_err(|reason| Error::NotAPicture { place: self.store.place(place), reason })
    }

    /// The file that picture `i` is in, if each has one of its own.
    pub fn file(&self, i: usize) -> Option<&Path> {
        self.store.file(*self.places.get(i)?)
    }

    /// Picture `i` as `[size, size, 3]`, as [`load`](crate::load) scales and cuts it.
    pub fn decode_square(&self, i: usize, size: usize) -> Result<Vec<u8>, Error> {
        Ok(square(self.decode(i)?, self.short, size))
    }
}

/// Where encoded pictures are.
#[derive(Debug)]
pub(crate) enum Store {
    /// Files of their own.
    Files(Vec<PathBuf>),
    /// In memory.
    Memory(Vec<Box<[u8]>>),
    /// One after the other in a temporary file.
    Spool(Spool),
}

impl Store {
    fn bytes(&self, place: usize) -> Result<Cow<'_, [u8]>, Error> {
        let missing = || Error::NotAPicture { place: self.place(place), reason: "there is no such picture".into() };
        match self {
            Self::Files(paths) => {
                let path = paths.get(place).ok_or_else(missing)?;
                Ok(Cow::Owned(files::read(path, MAX_PICTURE_BYTES).map_err(Error::io(path))?))
            }
            Self::Memory(pictures) => Ok(Cow::Borrowed(pictures.get(place).ok_or_else(missing)?)),
            Self::Spool(spool) => {
                let &(start, bytes) = spool.spans.get(place).ok_or_else(missing)?;
                Ok(Cow::Owned(spool.read(start, bytes).map_err(Error::io(&spool.folder))?))
            }
        }
    }

    fn file(&self, place: usize) -> Option<&Path> {
        match self {
            Self::Files(paths) => paths.get(place).map(PathBuf::as_path),
            Self::Memory(_) | Self::Spool(_) => None,
        }
    }

    fn place(&self, place: usize) -> Place {
        match self {
            Self::Files(_) => Place { path: self.file(place).map(Path::to_path_buf), row: None },
            Self::Memory(_) | Self::Spool(_) => Place { path: None, row: Some(place) },
        }
    }
}

/// A temporary file of encoded pictures, which nothing is left of when it is closed.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    file: Mutex<File>,
    /// First byte and number of bytes of each picture.
    spans: Vec<(u64, usize)>,
}

impl Spool {
    fn read(&self, start: u64, bytes: usize) -> std::io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        // A reader that panicked has left the file's position, which is set anew, and nothing else.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut buffer)?;
        Ok(buffer)
    }
}

/// Takes encoded pictures one after the other, into memory or, if there are more bytes than may be kept, a temporary file.
pub(crate) struct Keeper<'a> {
    folder: &'a Path,
    most: u64,
    bytes: u64,
    pictures: Vec<Box<[u8]>>,
    spool: Option<(File, Vec<(u64, usize)>)>,
}

impl<'a> Keeper<'a> {
    /// Keeps `most` bytes in memory; a file would be in `folder`.
    pub fn new(folder: &'a Path, most: u64) -> Self {
        Self { folder, most, bytes: 0, pictures: Vec::new(), spool: None }
    }

    /// Takes the next picture.
    pub fn push(&mut self, picture: &[u8]) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(picture.len() as u64);
        if self.spool.is_none() && self.bytes > self.most {
            std::fs::create_dir_all(self.folder).map_err(Error::io(self.folder))?;
            self.spool = Some((tempfile::tempfile_in(self.folder).map_err(Error::io(self.folder))?, Vec::new()));
            for earlier in std::mem::take(&mut self.pictures) {
                self.write(&earlier)?;
            }
        }
        match self.spool {
            Some(_) => self.write(picture),
            None => {
                self.pictures.push(picture.into());
                Ok(())
            }
        }
    }

    fn write(&mut self, picture: &[u8]) -> Result<(), Error> {
        let Some((file, spans)) = &mut self.spool else { return Ok(()) };
        let start = spans.last().map_or(0, |(start, bytes)| start + *bytes as u64);
        file.write_all(picture).map_err(Error::io(self.folder))?;
        spans.push((start, picture.len()));
        Ok(())
    }

    /// The bytes that are in a temporary file.
    pub fn spooled(&self) -> Option<u64> {
        self.spool.as_ref().map(|_| self.bytes)
    }

    pub fn finish(self) -> Store {
        match self.spool {
            Some((file, spans)) => Store::Spool(Spool { folder: self.folder.into(), file: Mutex::new(file), spans }),
            None => Store::Memory(self.pictures),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_of_memory_and_file_alike() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("made when needed");
        let pictures: Vec<Vec<u8>> = (0..9u8).map(|i| vec![i; usize::from(i) * 3]).collect();
        let all: u64 = pictures.iter().map(|picture| picture.len() as u64).sum();
        for (most, is_file) in [(all, false), (all - 1, true), (0, true)] {
            let mut keeper = Keeper::new(&folder, most);
            pictures.iter().for_each(|picture| keeper.push(picture).unwrap());
            assert_eq!(keeper.spooled(), is_file.then_some(all));
            let store = keeper.finish();
            for at in [3, 8, 0, 5, 5] {
                assert_eq!(&*store.bytes(at).unwrap(), &pictures[at], "{most}");
            }
            assert_eq!(store.bytes(9).unwrap_err().to_string(), "picture: row 9: there is no such picture");
        }
        // The file has no name, so that nothing is left of it.
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}
