//! Where values lie in a session's memory: values that are not needed at the same time share it.

use std::ops::Range;

/// Where a value begins is a multiple of this: of a cache line, for bytes and for float32 numbers.
const LINE: usize = 64;

/// A value, and from which step to which it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    /// Numbers of one image.
    pub len: usize,
    /// The step that makes it.
    pub made: usize,
    /// The last step that reads it.
    pub read: usize,
}

/// For each value where it begins, and how long the memory is, for one image; twice as far for two.
pub(crate) fn place(values: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(values[i].len), i));
    let mut starts = vec![0; values.len()];
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let value = values[i];
        let mut taken: Vec<Range<usize>> = placed
            .iter()
            .filter(|&&j| values[j].made <= value.read && value.made <= values[j].read)
            .map(|&j| starts[j]..starts[j] + room(values[j].len))
            .collect();
        taken.sort_by_key(|range| range.start);
        // The first gap that is large enough.
        let mut start = 0;
        for range in taken {
            if start + room(value.len) <= range.start {
                break;
            }
            start = start.max(range.end);
        }
        starts[i] = start;
        placed.push(i);
    }
    let total = values.iter().zip(&starts).map(|(value, start)| start + room(value.len)).max().unwrap_or(0);
    (starts, total)
}

fn room(len: usize) -> usize {
    len.next_multiple_of(LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_live_at_the_same_time_lie_apart() {
        // A chain with a shortcut over it.
        let lens = [1000, 400, 640, 1000, 70];
        let lives = [(0, 3), (0, 1), (1, 2), (2, 4), (4, 5)];
        let values: Vec<Lifetime> =
            lens.iter().zip(lives).map(|(&len, (made, read))| Lifetime { len, made, read }).collect();
        let (starts, total) = place(&values);
        for i in 0..values.len() {
            assert_eq!(starts[i] % LINE, 0);
            assert!(starts[i] + values[i].len <= total);
            for j in 0..i {
                let together = values[i].made <= values[j].read && values[j].made <= values[i].read;
                let apart = starts[i] + values[i].len <= starts[j] || starts[j] + values[j].len <= starts[i];
                assert!(!together || apart, "{i} and {j}: {starts:?}");
            }
        }
        assert!(total < lens.iter().sum(), "{total}: nothing is shared");
    }
}
