//! docs/PROTOCOL.md says the same as the code.

use std::collections::BTreeMap;

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

#[test]
fn every_cited_section_exists() {
    for section in [
        "2.1", "2.2", "3.1", "3.2", "3.3", "4.1", "4.2", "4.3", "4.5", "5.1", "5.2", "6.1", "6.2", "6.3", "6.4", "6.5",
        "7.1", "7.2", "7.3", "7.4",
    ] {
        assert!(PROTOCOL.contains(&format!("\n### {section} ")), "no section {section}");
    }
    for section in 1..=10 {
        assert!(PROTOCOL.contains(&format!("\n## {section}. ")), "no section {section}");
    }
}
