//! Draws the table of the client's lifecycle into the docs.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use wse_client_core::client::{
    ConnectionState,
    lifecycle::{Bound, Cause, Stage, TABLE},
};

use crate::sh::root;

const HEAD: &str = "# The life of a connection

Drawn by `cargo xtask lifecycle` from the table that the client itself uses, `core/src/client/lifecycle.rs`. Do not edit.
`core/tests/lifecycle` explores the client and finds no other transition, no unused one, and no stage without a way back to `ready`.
";

/// Writes docs/lifecycle.md.
pub(crate) fn draw() -> Result<()> {
    fs::write(file(), page()).with_context(|| format!("cannot write {}", file().display()))
}

/// Checks that docs/lifecycle.md is what would be drawn now.
pub(crate) fn check() -> Result<()> {
    let present = fs::read_to_string(file()).with_context(|| format!("cannot read {}", file().display()))?;
    ensure!(present == page(), "docs/lifecycle.md is not what the table says: run `cargo xtask lifecycle`");
    Ok(())
}

fn file() -> PathBuf {
    root().join("docs/lifecycle.md")
}

fn page() -> String {
    format!("{HEAD}\n{}\n{}\n{}", diagram(), stages(), transitions())
}

fn diagram() -> String {
    let mut out = String::from("```mermaid\nstateDiagram-v2\n    [*] --> idle\n");
    for ((from, to), causes) in arrows() {
        let causes: Vec<String> = causes.into_iter().map(cause).collect();
        let _ = writeln!(out, "    {} --> {}: {}", identifier(from), identifier(to), causes.join(", "));
    }
    out.push_str("```\n");
    out
}

/// One arrow for all causes that lead the same way, in the order of the table.
fn arrows() -> Vec<((Stage, Stage), Vec<Cause>)> {
    let mut causes: BTreeMap<(Stage, Stage), Vec<Cause>> = BTreeMap::new();
    for row in TABLE {
        causes.entry((row.from, row.to)).or_default().push(row.cause);
    }
    causes.into_iter().collect()
}

fn stages() -> String {
    let mut out =
        String::from("| stage | state that the application sees | what ends the wait |\n| --- | --- | --- |\n");
    for stage in Stage::ALL {
        let mut states = vec![stage.state(ConnectionState::Idle), stage.state(ConnectionState::Connected)];
        states.dedup();
        let states: Vec<String> = states.iter().map(|state| format!("`{}`", state.as_str())).collect();
        let _ = writeln!(out, "| {} | {} | {} |", words(stage), states.join(", later "), bound(stage.bound()));
    }
    out
}

fn transitions() -> String {
    let mut out = String::from("| from | cause | to |\n| --- | --- | --- |\n");
    for row in TABLE {
        let _ = writeln!(out, "| {} | {} | {} |", words(row.from), cause(row.cause), words(row.to));
    }
    out
}

const fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Application => "the application: `connect()`",
        Bound::Dial => "`timeouts.connect`",
        Bound::Ready => "`timeouts.ready`",
        Bound::Heartbeat => "`heartbeat.interval` to the next ping, then `heartbeat.timeout`",
        Bound::Retry => "the pause of §7.2",
    }
}

fn cause(cause: Cause) -> String {
    match cause {
        Cause::Connect => "connect()".into(),
        Cause::Reconnect => "reconnect()".into(),
        Cause::Close => "close()".into(),
        Cause::Refused => "refused (4403)".into(),
        other => words(other),
    }
}

/// `FetchingToken` as `fetching token`.
fn words(name: impl std::fmt::Debug) -> String {
    let mut out = String::new();
    for letter in format!("{name:?}").chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn identifier(stage: Stage) -> String {
    words(stage).replace(' ', "_")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_page_is_what_the_table_says() {
        super::check().expect("up to date");
    }
}
