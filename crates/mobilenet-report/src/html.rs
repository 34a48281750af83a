//! The report as one HTML file that fetches nothing.

use std::fmt::Write as _;

use crate::audit::Verdict;
use crate::document::{Block, Cell, Document, GalleryRow, Table};
use crate::svg::{colors, escape, style};

const PAGE: &str = include_str!("page.css");

/// The whole page.
pub fn render(document: &Document) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
         <style>\n{}{PAGE}{}</style>\n</head>\n<body>\n",
        escape(&document.title),
        colors(),
        style()
    );
    if let Some(warning) = &document.warning {
        let _ = writeln!(out, "<p class=\"warning\" role=\"alert\"><strong>Warning.</strong> {}</p>", inline(warning));
    }
    let _ = writeln!(
        out,
        "<header><h1>{}</h1><p class=\"subtitle\">{}</p></header>",
        escape(&document.title),
        inline(&document.subtitle)
    );
    let [first, second] = &document.verdict;
    let _ = writeln!(
        out,
        "<section class=\"verdict\"><p class=\"lead\">{}</p><p class=\"lead\">{}</p>",
        inline(first),
        inline(second)
    );
    for caveat in &document.caveats {
        let _ = writeln!(out, "<p class=\"caveat\">{}</p>", inline(caveat));
    }
    out.push_str("</section>\n<nav>");
    for (i, section) in document.sections.iter().enumerate() {
        let _ = write!(out, "<a href=\"#s{i}\">{}</a>", escape(&section.title));
    }
    out.push_str("</nav>\n<main>\n");
    for (i, section) in document.sections.iter().enumerate() {
        let _ = writeln!(out, "<section id=\"s{i}\"><h2>{}</h2>", escape(&section.title));
        blocks(&mut out, &section.blocks);
        out.push_str("</section>\n");
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn blocks(out: &mut String, blocks_: &[Block]) {
    for block in blocks_ {
        match block {
            Block::Text(text) => {
                let _ = writeln!(out, "<p>{}</p>", inline(text));
            }
            Block::Table(table) => self::table(out, table),
            Block::Plots(plots) => {
                let _ = writeln!(out, "<div class=\"plots n{}\">", plots.len());
                for plot in plots {
                    let _ = writeln!(
                        out,
                        "<figure>{}<figcaption>{}</figcaption></figure>",
                        plot.svg.inline(),
                        inline(&plot.caption)
                    );
                }
                out.push_str("</div>\n");
            }
            Block::Gallery(rows) => gallery(out, rows),
            Block::Details(summary, inner) => {
                let _ = writeln!(out, "<details><summary>{}</summary>", inline(summary));
                blocks(out, inner);
                out.push_str("</details>\n");
            }
            Block::Code(text) => {
                let _ = writeln!(out, "<pre><code>{}</code></pre>", escape(text.trim_end()));
            }
        }
    }
}

fn table(out: &mut String, table: &Table) {
    let judges = table.rows.iter().flatten().any(|cell| matches!(cell, Cell::Verdict(_)));
    let class = match (table.numeric, judges) {
        (true, _) => "numeric",
        (false, true) => "words audit",
        (false, false) => "words",
    };
    let _ = write!(out, "<div class=\"scroll\"><table class=\"{class}\"><thead><tr>");
    for cell in &table.head {
        let _ = write!(out, "<th>{}</th>", inline(cell));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            match cell {
                Cell::Text(text) => {
                    let _ = write!(out, "<td>{}</td>", inline(text));
                }
                Cell::Verdict(verdict) => {
                    let class = match verdict {
                        Verdict::Reproduced => "good",
                        Verdict::NotReproduced => "bad",
                        Verdict::NotMeasurable => "open",
                    };
                    let _ = write!(out, "<td><span class=\"badge {class}\">{}</span></td>", verdict.label());
                }
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn gallery(out: &mut String, rows: &[GalleryRow]) {
    out.push_str("<div class=\"gallery\">\n");
    for row in rows {
        let _ = writeln!(out, "<div class=\"group\"><h3>{}</h3><div class=\"pictures\">", inline(&row.title));
        for shown in &row.pictures {
            let _ = write!(
                out,
                "<figure><img src=\"data:image/png;base64,{}\" width=\"96\" height=\"96\" alt=\"test image {}\"><figcaption><b>{}</b>",
                escape(&shown.png_base64),
                shown.index,
                escape(&shown.truth)
            );
            for answer in &shown.answers {
                let mark = answer.mark();
                let class = match mark {
                    "✓" => "good",
                    "✗" => "bad",
                    _ => "open",
                };
                let _ = write!(
                    out,
                    "<span class=\"answer\"><i class=\"dot {}\"></i><span class=\"{class}\">{mark}</span> {} <small>{}</small></span>",
                    answer.network.class(),
                    escape(&answer.class),
                    answer.remark()
                );
            }
            out.push_str("</figcaption></figure>\n");
        }
        out.push_str("</div></div>\n");
    }
    out.push_str("</div>\n");
}

/// Running text: literal but for `code` and **bold**.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 1 {
            let _ = write!(out, "<code>{}</code>", escape(part));
            continue;
        }
        for (k, piece) in part.split("**").enumerate() {
            if k > 0 {
                out.push_str(if k % 2 == 1 { "<strong>" } else { "</strong>" });
            }
            out.push_str(&escape(piece));
        }
        if part.matches("**").count() % 2 == 1 {
            out.push_str("</strong>");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_markup_is_closed_and_all_else_is_literal() {
        for (text, want) in [
            ("a **b** `c<d`", "a <strong>b</strong> <code>c&lt;d</code>"),
            ("<script>", "&lt;script&gt;"),
            ("**open", "<strong>open</strong>"),
        ] {
            assert_eq!(inline(text), want);
        }
    }
}
