//! The report as Markdown, with its plots and pictures as files next to it.

use std::fmt::Write as _;

use crate::document::{Block, Cell, Document, GalleryRow, Table};

/// The whole report. Plots are expected at `plots/<name>.svg`, pictures at `samples/<index>.png`.
pub fn render(document: &Document) -> String {
    let mut out = String::new();
    if let Some(warning) = &document.warning {
        let _ = writeln!(out, "> **WARNING: {}**\n", escape(warning));
    }
    let _ = writeln!(out, "# {}\n\n{}\n", document.title, escape(&document.subtitle));
    let _ = writeln!(out, "{}\n", escape(&document.verdict.join(" ")));
    for caveat in &document.caveats {
        let _ = writeln!(out, "> {}\n", escape(caveat));
    }
    for section in &document.sections {
        let _ = writeln!(out, "## {}\n", section.title);
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
                let _ = writeln!(out, "{}\n", escape(text));
            }
            Block::Table(table) => self::table(out, table),
            Block::Plots(plots) => {
                for plot in plots {
                    let caption = escape(&plot.caption);
                    let alt = caption.replace(['[', ']'], "");
                    let _ = writeln!(out, "![{alt}](plots/{}.svg)\n\n*{caption}*\n", plot.name);
                }
            }
            Block::Gallery(rows) => gallery(out, rows),
            Block::Details(summary, inner) => {
                let _ = writeln!(out, "<details><summary>{}</summary>\n", escape(summary));
                blocks(out, inner);
                let _ = writeln!(out, "</details>\n");
            }
            Block::Code(text) => {
                let _ = writeln!(out, "```text\n{}\n```\n", text.trim_end());
            }
        }
    }
}

fn table(out: &mut String, table: &Table) {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    out.push_str(&line(table.head.iter().map(|cell| escape(cell)).collect()));
    let rules = (0..table.head.len()).map(|i| if table.numeric && i > 0 { "---:" } else { "---" });
    out.push_str(&line(rules.map(str::to_owned).collect()));
    for row in &table.rows {
        out.push_str(&line(
            row.iter()
                .map(|cell| match cell {
                    Cell::Text(text) => escape(text),
                    Cell::Verdict(verdict) => format!("**{}**", verdict.label()),
                })
                .collect(),
        ));
    }
    out.push('\n');
}

fn gallery(out: &mut String, rows: &[GalleryRow]) {
    for row in rows {
        let _ = writeln!(out, "**{}**\n", escape(&row.title));
        let _ = writeln!(out, "| picture | truth | answers |\n| --- | --- | --- |");
        for shown in &row.pictures {
            let answers: Vec<_> = shown
                .answers
                .iter()
                .map(|a| format!("{} {} {} ({})", a.network.short(), a.mark(), escape(&a.class), a.remark()))
                .collect();
            let _ = writeln!(
                out,
                "| <img src=\"samples/{}.png\" width=\"64\" alt=\"test image {}\"> | {} | {} |",
                shown.index,
                shown.index,
                escape(&shown.truth),
                answers.join("<br>")
            );
        }
        out.push('\n');
    }
}

/// Literal text for Markdown; the project's own `code` and **bold** stay.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace('\n', " ")
}
