//! The report as Markdown, with its plots and pictures as files next to it. What is data is escaped: no name of a class
//! or a folder becomes a link, an emphasis, HTML, or the end of a block.

use std::fmt::Write as _;

use crate::document::{Block, Cell, Document, GalleryRow, Inline, Span, Table};

/// The whole report. Plots are expected at `plots/<name>.svg`, pictures at `samples/<index>.png`.
pub fn render(document: &Document) -> String {
    let mut out = String::new();
    if let Some(warning) = &document.warning {
        let _ = writeln!(out, "> **WARNING:** {}\n", line(warning));
    }
    let _ = writeln!(out, "# {}\n\n{}\n", line(&document.title), paragraph(&document.subtitle));
    let _ = writeln!(out, "{}\n", paragraph(&Inline::join(document.verdict.clone())));
    for caveat in &document.caveats {
        let _ = writeln!(out, "> {}\n", paragraph(caveat));
    }
    for section in &document.sections {
        let _ = writeln!(out, "## {}\n", line(&section.title));
        blocks(&mut out, &section.blocks);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn blocks(out: &mut String, blocks_: &[Block]) {
    for block in blocks_ {
        match block {
            Block::Text(text) => {
                let _ = writeln!(out, "{}\n", paragraph(text));
            }
            Block::Table(table) => self::table(out, table),
            Block::Plots(plots) => {
                for plot in plots {
                    let alt = literal(&plot.caption.plain().replace(['[', ']'], ""));
                    let _ = writeln!(out, "![{alt}](plots/{}.svg)\n\n*{}*\n", plot.name, line(&plot.caption));
                }
            }
            Block::Gallery(rows) => gallery(out, rows),
            Block::Details(summary, inner) => {
                // Inside an HTML block Markdown does not count.
                let _ = writeln!(out, "<details><summary>{}</summary>\n", html_literal(&summary.plain()));
                blocks(out, inner);
                let _ = writeln!(out, "</details>\n");
            }
            Block::Code(text) => code_block(out, text),
        }
    }
}

/// A fenced block, its fence longer than any in the text.
fn code_block(out: &mut String, text: &str) {
    let text: String = text.chars().filter(|&c| c == '\n' || c == '\t' || !c.is_control()).collect();
    let fence = "`".repeat((longest_run(&text, '`') + 1).max(3));
    let _ = writeln!(out, "{fence}text\n{}\n{fence}\n", text.trim_end());
}

fn table(out: &mut String, table: &Table) {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    out.push_str(&row(table.head.iter().map(cell).collect()));
    let rules = (0..table.head.len()).map(|i| if table.numeric && i > 0 { "---:" } else { "---" });
    out.push_str(&row(rules.map(str::to_owned).collect()));
    for cells in &table.rows {
        let cells = cells.iter().map(|found| match found {
            Cell::Text(text) => cell(text),
            Cell::Verdict(verdict) => format!("**{}**", verdict.label()),
        });
        out.push_str(&row(cells.collect()));
    }
    out.push('\n');
}

fn gallery(out: &mut String, rows: &[GalleryRow]) {
    for row in rows {
        let _ = writeln!(out, "**{}**\n", line(&row.title));
        let _ = writeln!(out, "| picture | truth | answers |\n| --- | --- | --- |");
        for shown in &row.pictures {
            let answers: Vec<_> = shown
                .answers
                .iter()
                .map(|a| {
                    let network = a.network.map_or(String::new(), |network| network.short() + " ");
                    format!("{network}{} {} ({})", a.mark(), cell(&a.class), a.remark())
                })
                .collect();
            let _ = writeln!(
                out,
                "| <img src=\"samples/{}.png\" width=\"64\" alt=\"test image {}\"> | {} | {} |",
                shown.index,
                shown.index,
                cell(&shown.truth),
                answers.join("<br>")
            );
        }
        out.push('\n');
    }
}

/// Running text within a line.
fn line(text: &Inline) -> String {
    text.spans()
        .iter()
        .map(|span| match span {
            Span::Plain(text) => literal(text),
            Span::Strong(text) => format!("**{}**", literal(text)),
            Span::Code(text) => code(text),
        })
        .collect()
}

/// Running text as a cell: no pipe in it ends the cell, not even one in code.
fn cell(text: &Inline) -> String {
    line(text).replace('|', "\\|")
}

/// Running text at the start of a line, where some characters would begin a list, a heading or a quotation.
fn paragraph(text: &Inline) -> String {
    let line = line(text);
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits > 0 && line[digits..].starts_with(['.', ')']) {
        return format!("{}\\{}", &line[..digits], &line[digits..]);
    }
    if line.starts_with(['#', '-', '+', '>', '=']) { format!("\\{line}") } else { line }
}

/// Literal text: what Markdown, GitHub's extensions or HTML would take for markup is escaped.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let chars: Vec<char> = text.chars().collect();
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(i + 1).copied();
        let in_word = [before, after].iter().all(|c| c.is_some_and(char::is_alphanumeric));
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '_' if in_word => out.push('_'),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '$' => out.extend(['\\', c]),
            // A bare address would become a link.
            ':' if after == Some('/') => out.push_str("&#58;"),
            '.' if i >= 3 && chars[i - 3..i].iter().all(|c| c.eq_ignore_ascii_case(&'w')) => out.push_str("&#46;"),
            c => out.push(c),
        }
    }
    out
}

/// Literal text within HTML.
fn html_literal(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A span of code, its fence longer than any in the text.
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text, '`') + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// The most times in a row that a character stands in a text.
fn longest_run(text: &str, wanted: char) -> usize {
    text.split(|c| c != wanted).map(|run| run.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::rich;

    #[test]
    fn data_is_never_markup() {
        for (data, want) in [
            ("[link](javascript:alert(3))", r"\[link\](javascript:alert(3))"),
            ("`code`", r"\`code\`"),
            ("**bold** _it_ snake_case", r"\*\*bold\*\* \_it\_ snake_case"),
            ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>"),
            ("![x](y)", r"!\[x\](y)"),
            ("a&lt;b", "a&amp;lt;b"),
            ("\u{1b}[31mred\u{7}", r"\[31mred"),
            ("https://x.y www.x.y", "https&#58;//x.y www&#46;x.y"),
            ("~~gone~~ $x$ a\\", r"\~\~gone\~\~ \$x\$ a\\"),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(line(&data.to_owned().into()), want);
        }
    }

    #[test]
    fn a_line_of_data_begins_no_block() {
        for (data, want) in
            [("# a", r"\# a"), ("- a", r"\- a"), ("12. a", r"12\. a"), ("> a", r"\> a"), ("12 a", "12 a")]
        {
            assert_eq!(paragraph(&data.to_owned().into()), want);
        }
    }

    #[test]
    fn cells_and_code_end_where_they_should() {
        assert_eq!(cell(&"a|b".to_owned().into()), r"a\|b");
        assert_eq!(line(&rich!("`{}`", "a`` b")), "```a`` b```");
        assert_eq!(line(&rich!("`{}`", "`")), "`` ` ``");
        let mut out = String::new();
        code_block(&mut out, "mobilenet --data-dir 'a\n```\n<script>'\u{1b}");
        assert_eq!(out, "````text\nmobilenet --data-dir 'a\n```\n<script>'\n````\n\n");
    }
}
