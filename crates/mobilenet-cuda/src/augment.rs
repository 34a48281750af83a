//! Batches as they are stored, `u8`, changed and normalized on the device. What changes is drawn by the host: it depends on
//! seed, epoch and index alone, whatever computes it.

use crate::backend::{Arg, Backend, Kind, View};
use crate::error::{Error, Result};
use crate::loss::plain;
use crate::program::Program;

/// What was drawn for a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The pixel at `(y, x)` comes from `(y + dy, x + dx)`.
    pub shift: (i32, i32),
    /// Whether that is in the mirrored picture.
    pub mirror: bool,
    /// Whether a picture's borders reflect it; else it is black beyond them.
    pub reflect: bool,
    /// Top, left, height and width of what is erased: empty for nothing.
    pub erase: [i32; 4],
}

/// How a batch is mixed, each picture with the one before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixing {
    /// Each pixel, with these shares of its own and of the other's.
    Blend(f32, f32),
    /// Top, left, height and width of what is the other's.
    Paste([usize; 4]),
}

/// The pictures of a batch on the device.
#[derive(Clone, Debug)]
pub struct Augment {
    n: usize,
    size: (usize, usize),
    pictures: View,
    changes: View,
    levels: View,
    shares: View,
}

impl Augment {
    /// For batches of `n` pictures of `(height, width)` pixels; `levels` is what each value of each channel becomes.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn new<B: Backend>(backend: &mut B, n: usize, size: (usize, usize), levels: &[[f32; 256]; 3]) -> Result<Self> {
        let of_levels = backend.values(Kind::F32, 3 * 256)?;
        backend.write_f32(of_levels, &levels.concat())?;
        Ok(Self {
            n,
            size,
            pictures: backend.values(Kind::U8, n * size.0 * size.1 * 3)?,
            changes: backend.values(Kind::U32, n * 8)?,
            levels: of_levels,
            shares: backend.values(Kind::F32, 2)?,
        })
    }

    /// Uploads a batch, `[n, h, w, 3]`, and what was drawn for each picture, and writes what becomes of it to `images`.
    ///
    /// # Errors
    /// Another number of bytes or changes, and those of the back end.
    pub fn run<B: Backend>(
        &self,
        backend: &mut B,
        pictures: &[u8],
        changes: &[Change],
        mixing: Option<Mixing>,
        images: View,
    ) -> Result<()> {
        let n = self.n;
        if changes.len() != n {
            return Err(Error::Length { what: "changes of pictures".into(), expected: n, found: changes.len() });
        }
        backend.enter("augmentation");
        backend.write(self.pictures, pictures)?;
        let words = |change: &Change| {
            let [top, left, height, width] = change.erase;
            let (mirror, reflect) = (i32::from(change.mirror), i32::from(change.reflect));
            [change.shift.0, change.shift.1, mirror, reflect, top, left, height, width]
        };
        let bytes: Vec<u8> = changes.iter().flat_map(words).flat_map(i32::to_le_bytes).collect();
        backend.write(self.changes, &bytes)?;
        if let Some(Mixing::Blend(own, other)) = mixing {
            backend.write_f32(self.shares, &[own, other])?;
        }
        self.again(backend, mixing, images)
    }

    /// Writes what becomes of the batch that was uploaded last to other `images`.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn again<B: Backend>(&self, backend: &mut B, mixing: Option<Mixing>, images: View) -> Result<()> {
        let (n, (h, w)) = (self.n, self.size);
        let (kind, area) = match mixing {
            None => (0, [0; 4]),
            Some(Mixing::Blend(..)) => (1, [0; 4]),
            Some(Mixing::Paste(area)) => (2, area),
        };
        let mut args = vec![Arg::In(self.pictures), Arg::In(self.changes), Arg::In(self.levels), Arg::Int(kind)];
        args.push(Arg::In(self.shares));
        args.extend(area.map(Arg::Int));
        args.push(Arg::Out(images));
        args.extend([n, h, w].map(Arg::Int));
        plain(backend, Program::new("augment"), "augment", (n * h * w * 3).div_ceil(256), 256, &args)
    }
}
