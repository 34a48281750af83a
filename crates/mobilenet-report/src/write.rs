//! Renders a folder of artefacts as `report.md`, `report.html` and `results.json`.

use std::path::Path;

use mobilenet_common::files;
use mobilenet_schema::Against;
use serde::Serialize;

use crate::document::{Block, Document, Section};
use crate::error::{Error, Result};
use crate::gather::Gathered;
use crate::runs::Runs;
use crate::{audit, content, html, markdown, results, samples, text};

/// Writes the report of a comparison into `out`, with what `against` says of an earlier one: `report.html`,
/// `report.md`, `results.json` and, for the Markdown, `plots/*.svg` and `samples/*.png`. Files of those names are replaced.
///
/// # Errors
/// A folder that cannot be written to; a picture that is no picture.
pub fn write(out: &Path, gathered: &Gathered, against: Option<&Against>) -> Result<()> {
    let claims = audit::audit(gathered);
    let created = text::now();
    let document = content::document(gathered, &claims, against, &created);
    fresh_folder(&out.join("plots"), "svg", true)?;
    fresh_folder(&out.join("samples"), "png", !gathered.pictures.is_empty())?;
    write_document(out, &document)?;
    let mut results = results::of_comparison(gathered, &claims, &document, &created);
    results.against = against.cloned();
    write_results(out, &results)
}

/// Writes a report of single runs into `out`, which need not hold them: `report.html`, `report.md`, `results.json` and,
/// for the Markdown, `plots/*.svg`. Files of those names are replaced.
///
/// # Errors
/// A folder that cannot be written to.
pub fn write_runs(out: &Path, runs: &Runs) -> Result<()> {
    let created = text::now();
    let document = content::runs::document(runs, &created);
    let plots = out.join("plots");
    std::fs::create_dir_all(&plots).map_err(|error| Error::MakeFolder { path: plots, error })?;
    write_document(out, &document)?;
    write_results(out, &results::of_runs(runs, &document, &created))
}

/// As a value first: its keys are sorted.
fn write_results(out: &Path, results: &impl Serialize) -> Result<()> {
    let results = serde_json::to_vec_pretty(&serde_json::to_value(results)?)?;
    write_file(&out.join("results.json"), &results)
}

/// Writes a file so that it is there whole or not at all.
fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write(path, bytes).map_err(|error| Error::Write { path: path.to_owned(), error })
}

/// The pages, and the files that the Markdown refers to.
fn write_document(out: &Path, document: &Document) -> Result<()> {
    for section in &document.sections {
        write_files(out, section)?;
    }
    write_file(&out.join("report.md"), markdown::render(document).as_bytes())?;
    write_file(&out.join("report.html"), html::render(document).as_bytes())
}

/// Removes an earlier report's files from a folder (pictures are not to outlive `--no-samples`), but nothing else that
/// may lie there, and makes the folder if it is needed.
fn fresh_folder(folder: &Path, ending: &str, needed: bool) -> Result<()> {
    let clear = || {
        if needed {
            std::fs::create_dir_all(folder)?;
        } else if !folder.exists() {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|found| found == ending) {
                std::fs::remove_file(path)?;
            }
        }
        if !needed {
            // Fails, as it should, if anything else lies there.
            let _ = std::fs::remove_dir(folder);
        }
        Ok::<_, std::io::Error>(())
    };
    clear().map_err(|error| Error::Replace { path: folder.to_owned(), error })
}

/// Plots and pictures that the Markdown refers to.
fn write_files(out: &Path, section: &Section) -> Result<()> {
    let mut open: Vec<&Block> = section.blocks.iter().collect();
    while let Some(block) = open.pop() {
        match block {
            Block::Plots(plots) => {
                for plot in plots {
                    let path = out.join("plots").join(format!("{}.svg", plot.name));
                    write_file(&path, plot.standalone().as_bytes())?;
                }
            }
            Block::Gallery(rows) => {
                for shown in rows.iter().flat_map(|row| &row.pictures) {
                    let path = out.join("samples").join(format!("{}.png", shown.index));
                    let png = samples::decode_base64(&shown.png_base64).ok_or(Error::Picture { index: shown.index })?;
                    write_file(&path, &png)?;
                }
            }
            Block::Details(_, inner) => open.extend(inner),
            Block::Text(_) | Block::Table(_) | Block::Code(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::gather::fixture::copy_of_fixture;
    use crate::gather::{Scope, gather};

    #[test]
    fn names_of_classes_and_folders_stay_literal() {
        let out = copy_of_fixture("hostile");
        let name = "[link](javascript:alert(3)) `code` **bold** <script>alert(1)</script>\u{1b}[31m";
        let change = |file: &str, change: &dyn Fn(&mut Value)| {
            let path = out.join(file);
            let mut value: Value = mobilenet_schema::read(&path).unwrap();
            change(&mut value);
            std::fs::write(path, value.to_string()).unwrap();
        };
        for run in ["v2-s1", "v3-large-s1"] {
            change(&format!("{run}/eval.json"), &|eval| eval["classes"][0] = name.into());
        }
        change("data.json", &|data| {
            data["classes"][0] = name.into();
            data["name"] = name.into();
            data["copy"] = name.into();
        });
        change("plan.json", &|plan| plan["data_dir"] = "a\n```\n<script>alert(2)</script>".into());
        let mut gathered = gather(&out, Scope::default()).unwrap();
        let folder = gathered.settings.data_dir.as_ref().unwrap().display().to_string();
        gathered.commands = vec![format!("cargo xtask compare --data-dir '{folder}'")];
        write(&out, &gathered, None).unwrap();
        let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
        let html = std::fs::read_to_string(out.join("report.html")).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        // Both say the name, and neither has it as markup.
        assert!(markdown.contains(r"\[link\](javascript:alert(3)) \`code\` \*\*bold\*\* &lt;script>"), "{markdown}");
        assert!(html.contains("[link](javascript:alert(3)) `code` **bold** &lt;script&gt;"), "{html}");
        assert!(!markdown.contains("[link](javascript") && !markdown.contains("**bold**"), "{markdown}");
        assert!(!html.contains("<script") && !html.contains("<strong>bold"), "{html}");
        assert!(!markdown.contains('\u{1b}') && !html.contains('\u{1b}'));
        // The folder's name is inside a fence that is longer than its own.
        let (before, _) = markdown.split_once("<script>alert(2)").unwrap();
        assert_eq!(before.matches("\n````").count() % 2, 1, "{markdown}");
        assert_eq!(markdown.matches("<script").count(), 1, "{markdown}");
    }
}
