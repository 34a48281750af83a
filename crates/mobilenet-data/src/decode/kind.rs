//! What bytes are that are not what they should be.

use image::ImageFormat;

/// The formats that are read, told by their content.
pub(crate) const EXPECTED: &str = "JPEG, PNG, WebP, BMP, GIF, TIFF or PNM";

/// Endings of the names of pictures, in lower case: of the formats that are read, and of some that are not.
const READ: [&str; 14] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"];
const NOT_READ: [&str; 9] = ["heic", "heif", "avif", "jxl", "jp2", "dng", "cr2", "nef", "arw"];

/// Whether a name says that the file is a picture.
pub(crate) fn is_picture_name(name: &std::path::Path) -> bool {
    let ending = name.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| READ.contains(&ending.as_str()) || NOT_READ.contains(&ending.as_str()))
}

/// The format of a picture that can be read; those of other features of the `image` crate do not count.
pub(crate) fn format(bytes: &[u8]) -> Option<ImageFormat> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    image::guess_format(bytes).ok().filter(|format| matches!(format, Bmp | Gif | Jpeg | Png | Pnm | Tiff | WebP))
}

/// What people call a format.
pub(crate) fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::WebP => "WebP",
        _ => "PNG",
    }
}

/// For an error: what the beginning of a file says that it is.
pub(crate) fn found(bytes: &[u8]) -> String {
    let text = || {
        let start: String = bytes.iter().take(200).map(|&byte| byte.to_ascii_lowercase() as char).collect();
        start.trim_start().to_owned()
    };
    let known = match bytes {
        [] => return "no bytes".into(),
        _ if is_lfs_pointer(bytes) => return LFS_POINTER.into(),
        _ if bytes.get(4..8) == Some(b"ftyp") => match bytes.get(8..12) {
            Some(b"avif" | b"avis") => "AVIF",
            Some(b"heic" | b"heix" | b"mif1" | b"msf1" | b"hevc") => "HEIC",
            _ => "a film",
        },
        [0x1f, 0x8b, ..] => "gzip",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', ..] => "JPEG XL",
        [0, 0, 0, 12, b'j', b'P', ..] => "JPEG 2000",
        _ if text().starts_with("<!doctype html") || text().starts_with("<html") => "an HTML page",
        _ if text().starts_with("<svg") || text().starts_with("<?xml") => "SVG or XML",
        _ if bytes.iter().all(|&byte| byte == 0) => "zeros",
        _ => return format!("{} bytes of another kind", bytes.len()),
    };
    known.into()
}

/// What a Git LFS pointer is, and what to do about it.
pub(crate) const LFS_POINTER: &str = "a Git LFS pointer instead of the file itself (git lfs pull fetches it)";

/// Whether this is the text that Git LFS leaves in the place of a file.
pub(crate) fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_kinds_are_named() {
        for (bytes, expected) in [
            (&b""[..], "no bytes"),
            (b"no picture", "10 bytes of another kind"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", LFS_POINTER),
            (b"\n <!DOCTYPE html><html>", "an HTML page"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
            (b"PK\x03\x04\x14\0", "a zip archive"),
            (&[0; 300], "zeros"),
        ] {
            assert_eq!(found(bytes), expected);
            assert_eq!(format(bytes), None);
        }
    }

    #[test]
    fn names_of_pictures() {
        for (name, expected) in [
            ("a.JPG", true),
            ("a.b.webp", true),
            ("a.heic", true),
            ("0.png:Zone.Identifier", false),
            ("Thumbs.db", false),
            ("jpg", false),
            ("a.txt", false),
        ] {
            assert_eq!(is_picture_name(name.as_ref()), expected, "{name}");
        }
    }
}
