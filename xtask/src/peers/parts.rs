//! The parts of the written document that are measured on their own, each between a line that begins it and one that
//! ends it: they stay when the rest is measured anew.

/// What such a line begins with.
const MARK: &str = "<!-- ";

fn begin(name: &str) -> String {
    format!("{MARK}{name} -->")
}

fn end(name: &str) -> String {
    format!("{MARK}end of {name} -->")
}

/// A part of this name.
pub fn part(name: &str, text: &str) -> String {
    format!("{}\n\n{}\n\n{}", begin(name), text.trim(), end(name))
}

/// Puts a part into a document, in place of the one of its name that it has.
pub fn splice(document: &str, name: &str, text: &str) -> String {
    let (first, last) = (begin(name), end(name));
    let found = document.find(&first).and_then(|begin| {
        let end = document[begin..].find(&last)? + begin + last.len();
        Some((&document[..begin], &document[end..]))
    });
    let (before, after) = found.unwrap_or((document, ""));
    let part = part(name, text);
    let parts = [before.trim_end(), &part, after.trim()].into_iter().filter(|text| !text.is_empty());
    parts.collect::<Vec<_>>().join("\n\n")
}

/// All parts of a document, which stand at its end; empty if it has none.
pub fn parts_of(document: &str) -> &str {
    let starts = document.starts_with(MARK).then_some(0);
    let begin = starts.or_else(|| document.find(&format!("\n{MARK}")).map(|at| at + 1));
    begin.map_or("", |begin| document[begin..].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_takes_the_place_of_the_one_before() {
        let (best, avx2) = (part("runtime", "a"), part("runtime at avx2", "b"));
        assert_eq!(splice("", "runtime", "a"), best);
        let document = splice("# Benchmarks\n\nold\n", "runtime", "a\n");
        assert_eq!(document, format!("# Benchmarks\n\nold\n\n{best}"));
        let document = splice(&document, "runtime at avx2", "b");
        assert_eq!(document, format!("# Benchmarks\n\nold\n\n{best}\n\n{avx2}"));
        assert_eq!(parts_of(&document), format!("{best}\n\n{avx2}"));
        let again = splice(&document, "runtime", "c");
        assert_eq!(again, format!("# Benchmarks\n\nold\n\n{}\n\n{avx2}", part("runtime", "c")));
        assert_eq!(parts_of("# Benchmarks"), "");
        assert_eq!(parts_of(&best), best);
    }
}
