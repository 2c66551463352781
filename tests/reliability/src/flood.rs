//! Handshakes at full speed, and more connections than there may be.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Setup, attackers,
    control::Arena,
    raw::{Raw, Tally, connect},
    sheet::{Of, Sheet},
};

/// Loops of connect, upgrade, go.
const LOOPS: usize = 32;

/// Of all loops, how many close before they ask for anything.
const RUDE: usize = 8;

const MOST: usize = 200;

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let lasts = Duration::from_secs(setup.pick(3, 20));
    let most = MOST.to_string();
    let arena = Arena::open(setup, &["--max-connections", &most, "--max-handshakes", "256"]).await?;
    let addr = arena.server.server.address;
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for number in 0..LOOPS {
        loops.spawn_on(hammer(addr, began + lasts, number < RUDE), attackers());
    }
    let mut tally = Tally::default();
    while let Some(done) = loops.join_next().await {
        tally.join(&done?);
    }
    let cpu = arena.server.cpu_seconds()?;
    let each = cpu * 1e6 / tally.sum().max(1) as f64;
    sheet.note("sockets", &tally);
    sheet.note("sockets a second", Of(tally.sum() as f64 / lasts.as_secs_f64(), ""));
    sheet.most(
        "server: CPU for each socket, control group included",
        Of(each, "µs"),
        Of(setup.pick(5000.0, 500.0), "µs"),
    );
    crowd(addr, sheet).await?;
    // The flood is over: whoever comes is let in.
    sleep(Duration::from_millis(500)).await;
    let late = Raw::open(addr, 0).await?.reader.wait_for("\"server_ready\"").await.is_ok();
    sheet.check("a newcomer afterwards", if late { "is let in" } else { "is not" }, "is let in", late);
    arena.close(sheet, 64.0).await
}

async fn hammer(addr: SocketAddr, until: Instant, rude: bool) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < until {
        if rude {
            match connect(addr, 0).await {
                Ok(_) => tally.add("closed without a word"),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
            continue;
        }
        let Ok(mut raw) = Raw::open(addr, 0).await else {
            tally.add("refused before the upgrade");
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        match raw.reader.frame().await {
            Ok(Some((_, frame))) if String::from_utf8_lossy(&frame).contains("server_ready") => tally.add("let in"),
            Ok(Some((_, frame))) if String::from_utf8_lossy(&frame).contains("SERVER_FULL") => tally.add("SERVER_FULL"),
            _ => tally.add("something else"),
        }
    }
    tally
}

/// Twice as many as there may be, who all stay.
async fn crowd(addr: SocketAddr, sheet: &mut Sheet) -> Result<()> {
    // Those of the flood leave.
    sleep(Duration::from_millis(500)).await;
    let (mut inside, mut endings) = (Vec::new(), Tally::default());
    let mut told = 0;
    for _ in 0..2 * MOST {
        let mut raw = Raw::open(addr, 0).await?;
        let (_, first) = raw.reader.frame().await?.unwrap_or_default();
        if String::from_utf8_lossy(&first).contains("\"server_ready\"") {
            inside.push(raw);
            continue;
        }
        told += u64::from(String::from_utf8_lossy(&first).contains("SERVER_FULL"));
        endings.add(raw.reader.ending(Duration::from_secs(5)).await.word());
    }
    sheet.most("a crowd that stays: let in", inside.len(), MOST);
    let refused = endings.sum();
    sheet.exactly("of the others, told SERVER_FULL", told, refused);
    sheet.exactly("of the others, closed with 1013", endings.of("1013"), refused);
    sheet.least("of the others, there were", refused, MOST as u64);
    Ok(())
}
