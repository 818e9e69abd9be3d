//! Links in the documents lead somewhere: to files that are there, and to headings that they have.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Directories in which nobody has written documents.
const OTHERS: [&str; 3] = ["target", "corpus", "artifacts"];

/// All documents below a directory.
fn documents(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().expect("its type").is_dir() {
            if !name.starts_with('.') && !OTHERS.contains(&name.as_str()) {
                documents(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The text of a document without examples, which are between fences.
fn prose(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("a document");
    let mut is_example = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_example ^= is_fence;
        !is_example && !is_fence
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The places of headings, as they are named in links.
fn anchors(prose: &str) -> Vec<String> {
    let mut seen = HashMap::new();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let text = line.trim_start_matches(['#', ' ']).to_lowercase();
        let kept: String =
            text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c)).collect();
        let name = kept.replace(' ', "-");
        let before = seen.entry(name.clone()).or_insert(0_u32);
        *before += 1;
        if *before == 1 { name } else { format!("{name}-{}", *before - 1) }
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let mut files = Vec::new();
    documents(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut files);
    assert!(files.len() > 15, "{files:?}");
    let (mut nowhere, mut count) = (Vec::new(), 0);
    for file in &files {
        let text = prose(file);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = if path.is_empty() { file.clone() } else { file.with_file_name(path) };
            let is_there = if anchor.is_empty() {
                to.exists()
            } else {
                to.is_file() && anchors(&prose(&to)).iter().any(|it| it == anchor)
            };
            if !is_there {
                nowhere.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(count > 200, "only {count} links");
    assert!(nowhere.is_empty(), "these lead nowhere:\n{}", nowhere.join("\n"));
}
