//! Glob bombs: patterns and topics that are as expensive as possible to compare.

use anyhow::{Context, Result};
use tokio::{io::AsyncWriteExt as _, time::Instant};
use wse_bench::wire::client_frame;

use crate::{
    Setup,
    control::Arena,
    raw::Raw,
    sheet::{Of, Sheet},
};

/// As long as a name may be.
const LONGEST: usize = 256;

/// Patterns of each attacker: as many as a connection may have.
const PATTERNS: usize = 1000;

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let (attackers, topics) = setup.pick((1, 40), (4, 200));
    let arena = Arena::open(setup, &[]).await?;
    let addr = arena.server.server.address;
    let mut bombers = Vec::new();
    for number in 0..attackers {
        let mut raw = Raw::open(addr, 0).await?;
        let patterns: Vec<String> = (0..PATTERNS).map(|pattern| bomb(number * PATTERNS + pattern)).collect();
        let answer = raw.subscribe(&patterns).await?;
        anyhow::ensure!(answer.contains("\"success\":true"), "patterns refused: {}", &answer[..200.min(answer.len())]);
        bombers.push(raw);
    }
    let cpu = arena.server.cpu_seconds()?;
    let began = Instant::now();
    let bomber = bombers.first_mut().context("at least one")?;
    // One after the other, or the time of one would count for the next.
    let mut slowest = 0.0_f64;
    for number in 0..topics {
        let name = format!("{}{number:04}", "a".repeat(LONGEST - 4));
        let each = Instant::now();
        let text = format!(r#"{{"t":"x","p":{{}},"tp":"{name}"}}"#);
        bomber.writer.write_all(&client_frame(true, text.as_bytes())).await?;
        bomber.say(r#"{"t":"health_check","p":{}}"#).await?;
        bomber.reader.wait_for("health_check_response").await?;
        slowest = slowest.max(each.elapsed().as_secs_f64() * 1000.0);
    }
    let took = began.elapsed();
    let comparisons = (topics * attackers * PATTERNS) as f64;
    let each = (arena.server.cpu_seconds()? - cpu) * 1e6 / comparisons;
    sheet.note("patterns of 256 characters, all unlike", attackers * PATTERNS);
    sheet.note("topics of 256 characters, each published to for the first time", topics);
    sheet.note("that took", Of(took.as_secs_f64(), "s"));
    sheet.most(
        "server: CPU for each pattern and topic, control group included",
        Of(each, "µs"),
        Of(setup.pick(200.0, 20.0), "µs"),
    );
    sheet.note("the slowest publication, until it was answered", Of(slowest, "ms"));
    arena.close(sheet, 64.0).await
}

/// Stars before every letter; one long part that nearly fits at many places; the same with a `?` in it. Each would match but
/// for its last letters.
fn bomb(number: usize) -> String {
    let end = format!("b{number}");
    let room = LONGEST - end.len();
    match number % 4 {
        0 => format!("{}{end}", "*a".repeat(room / 2)),
        1 => format!("{}{end}*", "*a".repeat((room - 1) / 2)),
        2 => format!("*{}{end}*", "a".repeat(room / 2)),
        _ => format!("*{}?{end}*", "a".repeat(room / 2)),
    }
}
