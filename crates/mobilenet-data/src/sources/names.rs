//! Names of classes as text: whatever bytes a folder's or a file's name has, two of them are told apart, and none can do
//! anything to a terminal.

use std::ffi::OsStr;

/// Text as it is, control characters and bytes that are no text as `\x1b`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() {
                true => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                false => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// The same for the name of a file or folder.
pub(crate) fn of(name: &OsStr) -> String {
    text(name.as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_stay_apart() {
        for (bytes, expected) in [
            (&b"cat"[..], "cat"),
            ("Käse".as_bytes(), "Käse"),
            (b"caf\xe9", "caf\\xe9"),
            (b"caf\xe8", "caf\\xe8"),
            (b"a\x1b[31mb\nc", "a\\x1b[31mb\\x0ac"),
        ] {
            assert_eq!(text(bytes), expected);
        }
    }
}
