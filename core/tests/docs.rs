//! docs/PROTOCOL.md says the same as the code.

use std::{collections::BTreeMap, fs, path::Path};

use wse_client_core::error::{
    Code,
    close::{self, Reaction},
};

const PROTOCOL: &str = include_str!("../../docs/PROTOCOL.md");
const ERROR_SOURCE: &str = include_str!("../src/error.rs");

/// The rows of the first table after a heading: first cell without its code marks, and all cells.
fn table(heading: &str) -> BTreeMap<String, Vec<String>> {
    let (_, section) = PROTOCOL.split_once(heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    // Without the head and the rule below it.
    rows.skip(2)
        .map(|row| {
            let cells: Vec<String> = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            (cells[0].trim_matches('`').to_owned(), cells)
        })
        .collect()
}

#[test]
fn every_code_is_in_the_table_with_its_meaning_and_nothing_else_is() {
    let rows = table("### 9.1 Error codes");
    for code in Code::ALL {
        let row = rows.get(code.as_str()).unwrap_or_else(|| panic!("{code} is missing in §9.1"));
        assert_eq!(row.len(), 4, "{code}");
        assert_eq!(row[2], if code.is_retryable() { "yes" } else { "no" }, "retryable, {code}");
        assert!(row[1..].iter().all(|cell| !cell.is_empty()), "an empty cell for {code}");
    }
    assert_eq!(rows.len(), Code::ALL.len(), "§9.1 has codes that do not exist");
}

#[test]
fn the_list_of_codes_is_complete() {
    let texts = ERROR_SOURCE.lines().filter(|line| line.trim_start().starts_with("Self::") && line.contains("=> \""));
    assert_eq!(texts.count(), Code::ALL.len(), "Code::ALL misses a code that as_str knows");
}

#[test]
fn every_close_code_is_in_the_table_with_its_reaction() {
    let rows = table("### 9.2 Close codes");
    let known = [
        close::NORMAL,
        close::GOING_AWAY,
        close::PROTOCOL,
        close::NO_STATUS,
        close::ABNORMAL,
        close::INVALID_DATA,
        close::POLICY,
        close::TOO_BIG,
        close::SERVER_ERROR,
        close::RESTART,
        close::TRY_LATER,
        close::DRAINING,
        close::AUTH,
        close::FORBIDDEN,
        close::RATE_LIMITED,
    ];
    for code in known {
        let row = rows.get(&code.to_string()).unwrap_or_else(|| panic!("{code} is missing in §9.2"));
        let word = match close::reaction(code) {
            Reaction::Reconnect => "reconnects",
            Reaction::RenewToken => "asks for a fresh token",
            Reaction::Stop => "stops",
        };
        assert!(row[2].starts_with(word), "{code}: {}", row[2]);
    }
    assert_eq!(rows.len(), known.len());
}

/// Every `PROTOCOL.md §…` in the sources of the workspace, and the `§…` that follow it in a list.
#[test]
fn every_cited_section_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cited = BTreeMap::new();
    for folder in ["core/src", "core/tests", "client", "server", "wasm/src", "python", "tests", "ts-wrapper/src"] {
        collect_citations(&root.join(folder), &mut cited);
    }
    assert!(cited.len() > 20, "the search finds nothing: {cited:?}");
    for (section, place) in cited {
        let marks = if section.contains('.') { "###" } else { "##" };
        let dot = if section.contains('.') { "" } else { "." };
        assert!(PROTOCOL.contains(&format!("\n{marks} {section}{dot} ")), "no section {section}, cited in {place}");
    }
}

fn collect_citations(folder: &Path, cited: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "target" | "node_modules" | "corpus" | ".venv") {
            collect_citations(&path, cited);
        } else if [".rs", ".py", ".pyi", ".ts", ".tsx"].iter().any(|end| name.ends_with(end)) {
            // What is no text is no source.
            let text = fs::read_to_string(&path).unwrap_or_default();
            for section in citations(&text) {
                cited.insert(section, path.display().to_string());
            }
        }
    }
}

fn citations(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("PROTOCOL.md §").skip(1) {
        let mut rest = rest;
        loop {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let section = rest[..end].trim_end_matches('.');
            if !section.is_empty() {
                found.push(section.to_owned());
            }
            let Some(next) = [", §", "–§"].iter().find_map(|link| rest[end..].strip_prefix(link)) else { break };
            rest = next;
        }
    }
    found
}
