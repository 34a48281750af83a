//! The report as one HTML file that fetches nothing. What is data is escaped by type: [`maud`] escapes every string.

use maud::{DOCTYPE, Markup, PreEscaped, Render, html};
use mobilenet_schema::Verdict;

use crate::document::{Block, Cell, Document, GalleryRow, Inline, Span, Table};
use crate::plots::palette::{colors, style};

const PAGE: &str = include_str!("page.css");

/// The whole page.
pub fn render(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (document.title.plain()) }
                style { (PreEscaped(colors())) (PreEscaped(PAGE)) (PreEscaped(style())) }
            }
            body {
                @if let Some(warning) = &document.warning {
                    p.warning role="alert" { strong { "Warning." } " " (warning) }
                }
                header {
                    h1 { (document.title) }
                    p.subtitle { (document.subtitle) }
                }
                section.verdict {
                    @for sentence in &document.verdict { p.lead { (sentence) } }
                    @for caveat in &document.caveats { p.caveat { (caveat) } }
                }
                nav {
                    @for (i, section) in document.sections.iter().enumerate() {
                        a href={ "#s" (i) } { (section.title) }
                    }
                }
                main {
                    @for (i, section) in document.sections.iter().enumerate() {
                        section id={ "s" (i) } {
                            h2 { (section.title) }
                            (blocks(&section.blocks))
                        }
                    }
                }
            }
        }
    };
    // One block a line, so that a committed page has readable differences.
    let mut page = page.into_string();
    for end in ["</p>", "</tr>", "</thead>", "</tbody>", "</figure>", "</section>", "</details>", "</style>", "</nav>"]
    {
        page = page.replace(end, &format!("{end}\n"));
    }
    page
}

impl Render for Inline {
    fn render(&self) -> Markup {
        html! {
            @for span in self.spans() {
                @match span {
                    Span::Plain(text) => { (text) },
                    Span::Code(text) => { code { (text) } },
                    Span::Strong(text) => { strong { (text) } },
                }
            }
        }
    }
}

fn blocks(blocks: &[Block]) -> Markup {
    html! { @for block in blocks { (self::block(block)) } }
}

fn block(block: &Block) -> Markup {
    html! {
        @match block {
            Block::Text(text) => { p { (text) } },
            Block::Table(table) => { (self::table(table)) },
            Block::Plots(plots) => {
                div class={ "plots n" (plots.len()) } {
                    @for plot in plots {
                        figure { (PreEscaped(plot.svg.inline())) figcaption { (plot.caption) } }
                    }
                }
            },
            Block::Gallery(rows) => { (gallery(rows)) },
            Block::Details(summary, inner) => { details { summary { (summary) } (blocks(inner)) } },
            Block::Code(text) => { pre { code { (text.trim_end()) } } },
        }
    }
}

fn table(table: &Table) -> Markup {
    let judges = table.rows.iter().flatten().any(|cell| matches!(cell, Cell::Verdict(_)));
    let class = match (table.numeric, judges) {
        (true, _) => "numeric",
        (false, true) => "words audit",
        (false, false) => "words",
    };
    html! {
        div.scroll {
            table class=(class) {
                thead { tr { @for cell in &table.head { th { (cell) } } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for cell in row {
                                @match cell {
                                    Cell::Text(text) => { td { (text) } },
                                    Cell::Verdict(verdict) => { td { (badge(*verdict)) } },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn badge(verdict: Verdict) -> Markup {
    let class = match verdict {
        Verdict::Reproduced => "badge good",
        Verdict::NotReproduced => "badge bad",
        Verdict::Undecided => "badge undecided",
        Verdict::NotCompared => "badge left-out",
        Verdict::NotMeasurable => "badge open",
    };
    html! { span class=(class) { (verdict.label()) } }
}

fn gallery(rows: &[GalleryRow]) -> Markup {
    html! {
        div.gallery {
            @for row in rows {
                div.group {
                    h3 { (row.title) }
                    div.pictures {
                        @for shown in &row.pictures {
                            figure {
                                img src={ "data:image/png;base64," (shown.png_base64) } width="96" height="96"
                                    alt={ "test image " (shown.index) };
                                figcaption {
                                    b { (shown.truth) }
                                    @if let Some(file) = &shown.file {
                                        " " small { (file) }
                                    }
                                    @for answer in &shown.answers {
                                        @let mark = answer.mark();
                                        span.answer {
                                            @if let Some(network) = answer.network {
                                                i class={ "dot " (network.class()) } {}
                                            }
                                            span class=(mark_class(mark)) { (mark) }
                                            " " (answer.class) " "
                                            small { (answer.remark()) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn mark_class(mark: &str) -> &'static str {
    match mark {
        "✓" => "good",
        "✗" => "bad",
        _ => "open",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::rich;

    #[test]
    fn markup_is_that_of_the_source_and_all_data_is_literal() {
        for (text, want) in [
            (Inline::from("a **b** `c<d`"), "a <strong>b</strong> <code>c&lt;d</code>"),
            (Inline::from("<script>".to_owned()), "&lt;script&gt;"),
            (Inline::from("`x` **y**".to_owned()), "`x` **y**"),
            (rich!("**{}**", "<b>"), "<strong>&lt;b&gt;</strong>"),
        ] {
            assert_eq!(text.render().into_string(), want);
        }
    }

    #[test]
    fn every_verdict_has_a_badge_of_its_own() {
        let badges: Vec<_> = Verdict::ALL.map(|verdict| badge(verdict).into_string()).into();
        for (i, found) in badges.iter().enumerate() {
            assert!(found.contains(Verdict::ALL[i].label()), "{found}");
            let class = |badge: &str| badge.split('"').nth(1).map(str::to_owned);
            assert!(badges[..i].iter().all(|other| class(other) != class(found)), "{found}");
            let name = class(found).unwrap();
            let name = name.trim_start_matches("badge ");
            assert!(PAGE.contains(&format!(".{name}{{")), "no style for {name}");
        }
    }

    #[test]
    fn code_cannot_leave_its_block() {
        let page = block(&Block::Code("a\n```\n</code><script>".to_owned())).into_string();
        assert_eq!(page, "<pre><code>a\n```\n&lt;/code&gt;&lt;script&gt;</code></pre>");
    }
}
