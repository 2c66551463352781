//! One client that asks for twice as many topics as it may have.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    Setup,
    control::Arena,
    raw::{Raw, Tally},
    sheet::{Of, Sheet},
};

/// Subscriptions that one connection may have.
const MOST: usize = 10_000;

/// Topics in a request.
const AT_ONCE: usize = 1000;

/// Memory that one subscription to a topic of its own may take.
const KIB_OF_ONE: f64 = 4.0;

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let arena = Arena::open(setup, &["--max-topics-per-connection", &MOST.to_string()]).await?;
    let server = &arena.server;
    let before = server.resident_mib()?;
    let mut raw = Raw::open(server.server.address, 0).await?;
    let (mut accepted, mut refused) = (0, Tally::default());
    for first in (0..2 * MOST).step_by(AT_ONCE) {
        let topics: Vec<String> = (first..first + AT_ONCE).map(|number| format!("wanted:{number}")).collect();
        let answer = raw.subscribe(&topics).await?;
        let answer: Value = serde_json::from_str(answer.trim_start_matches("WSE"))?;
        accepted += answer["p"]["success_topics"].as_array().context("success_topics")?.len();
        for failed in answer["p"]["failed_topics"].as_array().context("failed_topics")? {
            refused.add(failed["error"].as_str().unwrap_or("?"));
        }
    }
    let grown = (server.resident_mib()? - before) * 1024.0 / MOST as f64;
    let heard = publish_to_some(&arena, &mut raw).await?;
    sheet.note("topics that one client asked for", 2 * MOST);
    sheet.exactly("accepted", accepted, MOST);
    sheet.exactly("refused with TOO_MANY_TOPICS", refused.of("TOO_MANY_TOPICS"), MOST as u64);
    sheet.exactly("of 100 of them that were published to, heard", heard, 100);
    sheet.most("server: memory of each subscription", Of(grown, "KiB"), Of(KIB_OF_ONE, "KiB"));
    let each = server.cpu_seconds()? * 1e6 / (2 * MOST) as f64;
    sheet.most("server: CPU for each topic asked for", Of(each, "µs"), Of(setup.pick(1000.0, 100.0), "µs"));
    drop(raw);
    arena.close(sheet, 16.0 + KIB_OF_ONE * MOST as f64 / 1024.0).await
}

/// Publishes to every hundredth topic that was accepted, and to as many that were not.
async fn publish_to_some(arena: &Arena, raw: &mut Raw) -> Result<usize> {
    let mut heard = 0;
    for number in (0..MOST).step_by(MOST / 100) {
        let told = arena.server.server.publish(&format!("wanted:{number}"), "x", "{}").await?;
        let not = arena.server.server.publish(&format!("wanted:{}", MOST + number), "x", "{}").await?;
        anyhow::ensure!(not.delivered == 0, "a topic that was refused is delivered");
        raw.reader.wait_for(&told.id).await?;
        heard += usize::try_from(told.delivered)?;
    }
    Ok(heard)
}
