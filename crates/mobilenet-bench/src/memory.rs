//! Memory of this process, as the system accounts for it.

/// Largest resident set so far in bytes (`VmHWM`); `None` where the system does not tell.
pub fn peak_rss_bytes() -> Option<u64> {
    status("VmHWM")
}

/// Resident set now in bytes (`VmRSS`); `None` where the system does not tell.
///
/// Read before a model is built, it is the baseline to compare [`peak_rss_bytes`] with.
pub fn rss_bytes() -> Option<u64> {
    status("VmRSS")
}

fn status(key: &str) -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    kib_field(&std::fs::read_to_string("/proc/self/status").ok()?, key)
}

/// The value of a `Key:   1234 kB` line in bytes.
pub(crate) fn kib_field(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_table() {
        let text = "Name:\tx\nVmHWM:\t    2048 kB\nVmHWMx:\t 1 kB\nVmRSS:\tmany kB\n";
        assert_eq!(kib_field(text, "VmHWM"), Some(2 << 20));
        assert_eq!(kib_field(text, "VmRSS"), None);
        assert_eq!(kib_field(text, "VmPeak"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn peak_grows_with_what_is_touched() {
        const SIZE: usize = 64 << 20;
        let before = rss_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; SIZE]);
        let peak = peak_rss_bytes().unwrap();
        assert!(peak >= before + SIZE as u64 / 2, "{before} {peak} {}", block.len());
    }
}
