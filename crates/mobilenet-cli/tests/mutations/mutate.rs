//! Changes to a file, drawn by a seed.

use mobilenet_common::random::SplitMix64;

/// Numbers that lengths and counts are replaced by.
const EXTREMES: [u64; 12] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x00ff_ffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];

/// Where most headers end.
const HEAD: usize = 256;

/// A file with one to four changes, most often one.
pub fn mutated(bytes: &[u8], random: &mut SplitMix64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let changes = [1, 1, 1, 2, 2, 4][random.below(6)];
    (0..changes).for_each(|_| change(&mut bytes, random));
    bytes
}

fn change(bytes: &mut Vec<u8>, random: &mut SplitMix64) {
    if bytes.is_empty() {
        bytes.push(random.below(256) as u8);
        return;
    }
    let at = place(bytes.len(), random);
    let most = if random.below(4) == 0 { 64 } else { 4 };
    let length = 1 + random.below(most);
    let end = (at + length).min(bytes.len());
    match random.below(10) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.below(256) as u8,
        // A number as text, as JSON has it: one digit for another, or many.
        3 => match (bytes.iter().skip(at).position(u8::is_ascii_digit), random.below(3)) {
            (Some(ahead), 0) => drop(bytes.splice(at + ahead..=at + ahead, *b"99999999999999999999")),
            (Some(ahead), 1) => drop(bytes.splice(at + ahead..at + ahead, *b"-")),
            (Some(ahead), _) => bytes[at + ahead] = b'0' + random.below(10) as u8,
            (None, _) => bytes[at] = 0,
        },
        // A length.
        4 | 5 => {
            let number = EXTREMES[random.below(EXTREMES.len())];
            let width = [1, 2, 4, 8][random.below(4)];
            let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
            let word = if random.below(2) == 0 { &little[..width] } else { &big[8 - width..] };
            bytes.iter_mut().skip(at).zip(word).for_each(|(byte, new)| *byte = *new);
        }
        6 => bytes.truncate(at),
        7 => drop(bytes.drain(at..end)),
        // A part of it once more, in this or another place.
        8 => {
            let part = bytes[at..end].to_vec();
            let to = place(bytes.len(), random);
            drop(bytes.splice(to..to, part));
        }
        _ => {
            let (part, to) = (bytes[at..end].to_vec(), place(bytes.len(), random));
            bytes.iter_mut().skip(to).zip(part).for_each(|(byte, new)| *byte = new);
        }
    }
}

/// A place in the file: half of the time in its head, now and then near its end, where some formats have theirs.
fn place(length: usize, random: &mut SplitMix64) -> usize {
    match random.below(8) {
        0..4 => random.below(length.min(HEAD)),
        4 | 5 => length - 1 - random.below(length.min(HEAD)),
        _ => random.below(length),
    }
}

#[test]
fn a_seed_is_a_file() {
    let bytes: Vec<u8> = (0..=255).collect();
    let of = |seed| mutated(&bytes, &mut SplitMix64::keyed(&[seed]));
    assert_eq!(of(7), of(7));
    let others = (0..100).filter(|&seed| of(seed) != bytes).count();
    assert!(others > 90, "{others} of 100 are changed");
    for length in [0, 1, 2] {
        (0..500).for_each(|seed| drop(mutated(&bytes[..length], &mut SplitMix64::keyed(&[seed]))));
    }
}
