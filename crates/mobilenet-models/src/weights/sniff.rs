//! What a file is, from its first bytes.

/// The bytes that [`Format::of`] looks at.
pub(super) const HEAD_BYTES: u64 = 512;

const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// What the first pickle of an older file of `torch.save` holds: 0x1950a86a20f9469cfc6c, as LONG1.
const LEGACY_MAGIC: &[u8] = &[0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Where that number lies: after the protocol, and from protocol 4 on after the frame's length.
const LEGACY_MAGIC_AT: [usize; 2] = [2, 11];

/// The formats of weights that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    /// `torch.save` since PyTorch 1.6, and TorchScript.
    TorchZip,
    /// `torch.save` before it.
    TorchLegacy,
    /// The list of a model's files that goes with its shards.
    Index,
}

/// Files that people mistake for weights, by how they begin.
const OTHERS: [(&[u8], &str); 14] = [
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not downloaded (git lfs pull)"),
    (b"<!doctype html", "an HTML page instead of a download"),
    (b"<html", "an HTML page instead of a download"),
    (b"<?xml", "an XML document"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PAR1", "a Parquet file"),
    (b"GGUF", "a GGUF file"),
];

impl Format {
    /// Tells the format from a file's first bytes; what they look like instead is the error.
    pub fn of(head: &[u8]) -> Result<Self, String> {
        if head.starts_with(ZIP_MAGIC) {
            Ok(Self::TorchZip)
        } else if LEGACY_MAGIC_AT.iter().any(|&at| head.get(at..).is_some_and(|head| head.starts_with(LEGACY_MAGIC))) {
            Ok(Self::TorchLegacy)
        } else if head.trim_ascii_start().starts_with(b"{") {
            Ok(Self::Index)
        } else if head.get(8) == Some(&b'{') {
            Ok(Self::Safetensors)
        } else {
            Err(found(head))
        }
    }

    /// The name used in errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip | Self::TorchLegacy => "PyTorch",
            Self::Index => "JSON",
        }
    }
}

/// What a file that is no weights begins with.
fn found(head: &[u8]) -> String {
    let begins = |magic: &[u8]| head.get(..magic.len()).is_some_and(|head| head.eq_ignore_ascii_case(magic));
    let trimmed = head.trim_ascii_start();
    let trimmed_begins = |magic: &[u8]| trimmed.get(..magic.len()).is_some_and(|head| head.eq_ignore_ascii_case(magic));
    if head.is_empty() {
        return "an empty file".into();
    }
    if head.iter().all(|&byte| byte == 0) {
        return "a file that begins with zeros".into();
    }
    if let Some((_, name)) =
        OTHERS.iter().find(|(magic, _)| begins(magic) || (magic[0] == b'<' && trimmed_begins(magic)))
    {
        return (*name).into();
    }
    if head.get(4..8) == Some(b"TFL3") {
        return "a TensorFlow Lite file".into();
    }
    if head.get(257..262) == Some(b"ustar") {
        return "a tar archive".into();
    }
    if head[0] == 0x80 && head.get(1).is_some_and(|protocol| (2..=5).contains(protocol)) {
        return "a Python pickle that torch.save did not write".into();
    }
    if let Some(text) = printable(head) {
        return format!("text that begins with {text:?}");
    }
    let bytes: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("a file that begins with the bytes {}", bytes.join(" "))
}

/// The first words of a text.
fn printable(head: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last letter may be cut.
        Err(error) if error.valid_up_to() + 4 > head.len() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let plain = |c: char| !c.is_control() || c.is_ascii_whitespace();
    let line: String = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ").chars().take(40).collect();
    (text.len() >= 4 && text.chars().all(plain) && !line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let mut safetensors = 700u64.to_le_bytes().to_vec();
        safetensors.extend(b"{\"a\":");
        let legacy = [&[0x80, 2][..], LEGACY_MAGIC].concat();
        let legacy_4 = [&[0x80, 4, 0x95, 14, 0, 0, 0, 0, 0, 0, 0][..], LEGACY_MAGIC].concat();
        for (head, format) in [
            (&b"PK\x03\x04...."[..], Format::TorchZip),
            (&legacy, Format::TorchLegacy),
            (&legacy_4, Format::TorchLegacy),
            (&safetensors, Format::Safetensors),
            (b"{\n  \"weight_map\": {", Format::Index),
        ] {
            assert_eq!(Format::of(head), Ok(format));
        }
    }

    #[test]
    fn what_is_no_weights_is_named() {
        for (head, found) in [
            (&b""[..], "an empty file"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "a Git LFS pointer"),
            (b"\n <!DOCTYPE HTML><html>", "an HTML page"),
            (b"<HTML><body>", "an HTML page"),
            (b"\x89PNG\r\n\x1a\n and so on", "a PNG picture"),
            (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}", "a Python pickle that torch.save did not write"),
            (b"Not found\n", "text that begins with \"Not found\""),
            (b"PK", "a file that begins with the bytes 50 4b"),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", "a file that begins with the bytes 00 01 02 03 04 05 06 07"),
            (&[0; 512], "a file that begins with zeros"),
        ] {
            let error = Format::of(head).unwrap_err();
            assert!(error.starts_with(found), "{error}");
        }
    }
}
