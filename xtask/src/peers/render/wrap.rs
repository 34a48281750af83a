//! Prose of a Markdown document in lines of a readable width.

/// Columns of the text.
const WIDTH: usize = 120;

/// Breaks the lines of paragraphs, lists and quotes that are too wide; headings, tables and code stay as they are.
pub fn wrap(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len() + markdown.len() / 64);
    let mut in_code = false;
    for line in markdown.lines() {
        let fence = line.starts_with("```");
        in_code ^= fence;
        if fence || in_code || line.starts_with(['|', '#']) || line.chars().count() <= WIDTH {
            out.push_str(line);
        } else {
            out.push_str(&broken(line));
        }
        out.push('\n');
    }
    out
}

/// One line as several, those after the first with the indent of a list's item or the mark of a quote.
fn broken(line: &str) -> String {
    let lead = match line.get(..2) {
        Some("- ") => "  ",
        Some("> ") => "> ",
        _ => "",
    };
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in words(line) {
        let too_wide = current.chars().count() + 1 + word.chars().count() > WIDTH;
        if !current.is_empty() && too_wide && !begins_a_block(&word) {
            lines.push(std::mem::replace(&mut current, lead.to_owned()));
        } else if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(&word);
    }
    lines.push(current);
    lines.join("\n")
}

/// The words of a line; code that holds a blank is one.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for part in line.split(' ') {
        match words.last_mut().filter(|_| open) {
            Some(word) => {
                word.push(' ');
                word.push_str(part);
            }
            None => words.push(part.to_owned()),
        }
        open ^= part.matches('`').count() % 2 == 1;
    }
    words
}

/// Whether a word at the beginning of a line would be a list, a quote, a heading or a table.
fn begins_a_block(word: &str) -> bool {
    let number = word.strip_suffix(['.', ')']).is_some_and(|digits| digits.parse::<u32>().is_ok());
    number || matches!(word, "-" | "+" | "*") || word.starts_with(['#', '>', '|'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_broken_and_nothing_else() {
        let long = |lead: &str| format!("{lead}{}", vec!["word"; 40].join(" "));
        let (table, heading) = (long("| "), long("# "));
        let document = format!("{heading}\n\n{}\n\n{table}\n\n```text\n{}\n```\n", long("- "), long(""));
        let wrapped = wrap(&document);
        for whole in [&table, &heading, &format!("```text\n{}\n```", long(""))] {
            assert!(wrapped.contains(whole.as_str()), "{wrapped}");
        }
        assert_eq!(wrapped.matches("\n  word").count(), 1, "{wrapped}");
        assert!(wrapped.lines().filter(|line| line.starts_with([' ', '-'])).all(|line| line.len() <= WIDTH));
        // Nothing but blanks has changed, and nothing is left to do.
        let plain = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(plain(&wrapped), plain(&document));
        assert_eq!(wrap(&wrapped), wrapped);
    }

    #[test]
    fn code_is_not_broken_and_no_line_becomes_a_block() {
        let filler = "x".repeat(WIDTH - 4);
        assert_eq!(wrap(&format!("{filler} `--precision bf16` it")), format!("{filler}\n`--precision bf16` it\n"));
        assert_eq!(wrap(&format!("{filler} of 12. And on")), format!("{filler} of 12.\nAnd on\n"));
    }

    #[test]
    fn the_committed_benchmarks_are_wrapped() {
        let committed = include_str!("../../../../docs/benchmarks.md");
        assert_eq!(wrap(committed), committed);
    }
}
