//! Whether a JPEG is whole. The decoder fills what is missing with gray and says nothing of it.

/// What the end of a JPEG looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The marker of the end is there.
    Marked,
    /// It is missing, in a picture of one scan: what is there may be all of it.
    Open,
    /// It is missing, in a picture of several scans.
    Cut,
}

/// Start of image, end of image, start of scan, and the markers of frames of several scans: progressive ones.
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const PROGRESSIVE: [u8; 4] = [0xc2, 0xc6, 0xca, 0xce];

/// Walks from marker to marker (ITU-T T.81, annex B); what lies between them, a thumbnail for example, is skipped.
pub(super) fn end(bytes: &[u8]) -> End {
    let (mut at, mut several) = (0, false);
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            EOI => return End::Marked,
            // Without contents, as the markers in the midst of a scan are.
            SOI | 0x01 | 0xd0..=0xd7 => {}
            _ => {
                several |= PROGRESSIVE.contains(&marker);
                let length = bytes.get(at..at + 2).map_or(2, |l| usize::from(u16::from_be_bytes([l[0], l[1]])));
                at += length.max(2);
                if marker == SOS {
                    skip_scan(bytes, &mut at);
                }
            }
        }
    }
    if several { End::Cut } else { End::Open }
}

/// The next marker at or after `at`, which is moved behind it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let rest = bytes.get(*at..)?;
        let start = rest.iter().position(|&byte| byte == 0xff)?;
        let filled = rest[start..].iter().position(|&byte| byte != 0xff)?;
        *at += start + filled + 1;
        match rest[start + filled] {
            0 => {}
            marker => return Some(marker),
        }
    }
}

/// Moves `at` to the next marker that is none of a scan's own.
fn skip_scan(bytes: &[u8], at: &mut usize) {
    while let Some(step) = bytes.get(*at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
        *at += step;
        match bytes.get(*at + 1) {
            Some(0 | 0xd0..=0xd7) => *at += 2,
            Some(0xff) => *at += 1,
            _ => return,
        }
    }
    *at = bytes.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_pictures_own() {
        // An APP1 segment of 8 bytes with an end in it, a frame, a scan with a stuffed byte and a restart.
        let app = [0xff, 0xe1, 0, 8, 0xff, 0xd8, 0xff, 0xd9, 1, 2];
        let frame = |kind| [0xff, kind, 0, 4, 1, 2];
        let scan = [0xff, 0xda, 0, 3, 1, 0x55, 0xff, 0, 0x55, 0xff, 0xd0, 0x55];
        let picture = |kind, tail: &[u8]| [&[0xff, 0xd8][..], &app, &frame(kind), &scan, tail].concat();
        for (bytes, expected) in [
            (picture(0xc0, &[0xff, 0xd9]), End::Marked),
            (picture(0xc0, &[0xff, 0xff, 0xd9, 7, 7]), End::Marked),
            (picture(0xc2, &[0xff, 0xd9]), End::Marked),
            (picture(0xc0, &[]), End::Open),
            (picture(0xc0, &[0xff]), End::Open),
            (picture(0xc2, &[]), End::Cut),
            (vec![], End::Open),
            (vec![0xff, 0xe1, 0xff, 0xff], End::Open),
        ] {
            assert_eq!(end(&bytes), expected, "{bytes:?}");
        }
    }
}
