//! The caches and the memory of this machine, as far as the system reports them (Linux: `/sys`, `/proc`).

use std::fs::read_to_string;
use std::path::Path;

use crate::memory::kib_field;

/// One level of cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cache {
    /// The size of one instance, in bytes.
    pub(crate) bytes: usize,
    /// Processors (hardware threads) that share an instance.
    pub(crate) sharers: usize,
}

impl Cache {
    /// The share of it that each of `threads` threads has, if they are spread evenly over the cores.
    pub(crate) fn per_thread(self, threads: usize) -> usize {
        self.bytes / self.sharers.clamp(1, threads.max(1))
    }

    /// Bytes of all instances that `threads` threads use.
    pub(crate) fn total(self, threads: usize) -> usize {
        self.bytes * threads.div_ceil(self.sharers.max(1))
    }
}

/// The second and the third level of the first processor; `None` where there is none or the system does not report it.
pub(crate) fn l2_and_l3() -> (Option<Cache>, Option<Cache>) {
    let folder = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let caches: Vec<(u32, Cache)> = (0..8).filter_map(|i| read(&folder.join(format!("index{i}")))).collect();
    let of = |level| caches.iter().find(|(found, _)| *found == level).map(|(_, cache)| *cache);
    (of(2), of(3))
}

fn read(folder: &Path) -> Option<(u32, Cache)> {
    let field = |name: &str| Some(read_to_string(folder.join(name)).ok()?.trim().to_owned());
    if field("type")? == "Instruction" {
        return None;
    }
    let cache = Cache { bytes: size(&field("size")?)?, sharers: count(&field("shared_cpu_list")?)? };
    Some((field("level")?.parse().ok()?, cache))
}

/// `1024K` or `32M` in bytes.
fn size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => (text.strip_suffix('M')?, 1 << 20),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

/// How many numbers are in `0-3,8`.
fn count(list: &str) -> Option<usize> {
    let range = |part: &str| match part.split_once('-') {
        None => part.parse::<usize>().ok().map(|_| 1),
        Some((first, last)) => Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1),
    };
    list.split(',').map(range).sum()
}

/// Memory that can be had without swapping, in bytes.
pub(crate) fn available_memory() -> Option<u64> {
    kib_field(&read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_of_the_kernel() {
        for (text, bytes) in [("32K", Some(32 << 10)), ("8M", Some(8 << 20)), ("0K", None), ("12", None), ("xK", None)]
        {
            assert_eq!(size(text), bytes, "{text}");
        }
        for (text, n) in [("0", Some(1)), ("0-3", Some(4)), ("0-1,8-9,12", Some(5)), ("3-1", None), ("", None)] {
            assert_eq!(count(text), n, "{text}");
        }
    }

    #[test]
    fn shares_of_a_cache() {
        let cache = Cache { bytes: 1 << 20, sharers: 4 };
        assert_eq!((cache.per_thread(1), cache.per_thread(2), cache.per_thread(9)), (1 << 20, 1 << 19, 1 << 18));
        assert_eq!((cache.total(1), cache.total(4), cache.total(5)), (1 << 20, 1 << 20, 2 << 20));
    }
}
