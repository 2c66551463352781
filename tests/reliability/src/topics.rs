//! More topics than the server remembers.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::{io::AsyncWriteExt as _, time::Instant};
use wse_bench::wire::client_frame;

use crate::{
    Setup,
    control::Arena,
    raw::{Raw, Tally},
    sheet::{Of, Sheet},
};

/// Topics over the bound.
const OVER: usize = 500;

/// Memory that an empty topic with one small message in its history may take.
const KIB_OF_ONE: f64 = 4.0;

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let most: usize = setup.pick(10_000, 100_000);
    let text = most.to_string();
    let arena = Arena::open(setup, &["--max-topics", &text]).await?;
    let before = arena.server.resident_mib()?;
    let began = Instant::now();
    let Raw { mut reader, mut writer } = Raw::open(arena.server.server.address, 0).await?;
    let writing = tokio::spawn(async move {
        for first in (0..most + OVER).step_by(100) {
            let batch: Vec<u8> = (first..first + 100)
                .flat_map(|number| {
                    let text = format!(r#"{{"t":"x","p":{{"n":{number}}},"tp":"many:{number}"}}"#);
                    client_frame(true, text.as_bytes())
                })
                .collect();
            writer.write_all(&batch).await?;
        }
        // Answered after everything before it.
        writer.write_all(&client_frame(true, br#"{"t":"health_check","p":{}}"#)).await?;
        anyhow::Ok(writer)
    });
    let mut errors = Tally::default();
    loop {
        let (opcode, content) = reader.frame().await?.context("the connection ended")?;
        let text = String::from_utf8_lossy(&content);
        anyhow::ensure!(opcode != 8, "closed: {content:?}, after {errors}");
        if text.contains("\"t\":\"error\"") {
            errors.add(text.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?"));
        } else if text.contains("health_check_response") {
            break;
        }
    }
    let took = began.elapsed();
    let _writer = writing.await??;
    let topics = arena.server.health().await?["topics"].as_u64().unwrap_or(0);
    let grown = (arena.server.resident_mib()? - before) * 1024.0 / most as f64;
    sheet.note("topics that were published to, one message each", most + OVER);
    sheet.most("topics that the server remembers", topics, most as u64);
    // The topics of the control group are among those that the server remembers.
    sheet.least("publications refused", errors.sum(), OVER as u64);
    sheet.exactly("of them, told TOO_MANY_TOPICS", errors.of("TOO_MANY_TOPICS"), errors.sum());
    sheet.note("all of them took", Of(took.as_secs_f64(), "s"));
    sheet.most("server: memory of each topic", Of(grown, "KiB"), Of(KIB_OF_ONE, "KiB"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    arena.close(sheet, 16.0 + KIB_OF_ONE * most as f64 / 1024.0).await
}
