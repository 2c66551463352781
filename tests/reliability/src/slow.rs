//! One slow consumer among fast ones.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use crate::{
    Setup,
    control::{Fared, Group, MEMBERS, Patience},
    ledger::Sent,
    member::{Manner, Member},
    sheet::{Of, Sheet},
    watched::{Watched, until},
};

/// Bytes in each message, so that the kernel's buffers do not hide that one does not read.
const PAD: usize = 64 << 10;

/// The topic of the group, which the slow one listens to as well.
const TOPIC: &str = "control";

/// Few, so that the slow one falls out of the ring soon.
const OPTIONS: &[&str] = &["--ring-messages", "32", "--history-messages", "16"];

/// By how many times the fast ones may wait longer, and how much on top, because the machine is shared.
const TIMES: f64 = 3.0;
const ON_TOP: f64 = 100.0;

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let lasts = Duration::from_secs(setup.pick(3, 30));
    // The group alone, then the same with one that takes ten messages a second instead of fifty.
    let alone = round(setup, lasts, None).await?.0;
    let (with, slow) = round(setup, lasts, Some(Duration::from_millis(100))).await?;
    let slow = slow.context("there is a slow one")?;
    with.report(sheet, "fast ones", Patience::of(setup));
    sheet.note("fast ones alone: delay, half of the messages", Of(alone.delays.p50, "ms"));
    sheet.note("fast ones alone: delay, 99 of 100", Of(alone.delays.p99, "ms"));
    let bound = alone.delays.p99 * TIMES + ON_TOP;
    sheet.most("fast ones beside a slow one: delay, 99 of 100", Of(with.delays.p99, "ms"), Of(bound, "ms"));
    sheet.note("slow one: published while it listened", slow.published);
    sheet.note("slow one: received", slow.received);
    sheet.least("slow one: told lost, with their number", slow.told, 1);
    sheet.exactly("slow one: lost silently", slow.silent, 0);
    sheet.exactly("slow one: received twice or out of order", slow.repeated, 0);
    Ok(())
}

async fn round(
    setup: &Setup,
    lasts: Duration,
    pause: Option<Duration>,
) -> Result<(Fared, Option<crate::ledger::Balance>)> {
    let server = Watched::start(setup, OPTIONS).await?;
    // Before the group talks, so that the slow one is there from the first message on.
    let slow = match pause {
        Some(pause) => Some(Member::join(&server.url(), 100, &[TOPIC], Manner { pause, buffer: 4 }).await?),
        None => None,
    };
    let group = Group::start(&server.url(), PAD).await?;
    let began = Instant::now();
    sleep(lasts.saturating_sub(began.elapsed())).await;
    let fared = group.finish().await?;
    let Some(slow) = slow else { return Ok((fared, None)) };
    slow.hurry();
    // Each member of the group got everything that there was.
    let count = fared.balance.published / u64::from(MEMBERS);
    let caught_up = || slow.diary().books.get(TOPIC).is_some_and(|book| book.accounted() >= count);
    until("the slow one has caught up", Duration::from_secs(60), caught_up).await?;
    let sent = [Sent { publisher: 0, count, at_risk: 0..0 }];
    let balance = slow.diary().books.entry(TOPIC.into()).or_default().balance(&sent);
    slow.leave().await;
    Ok((fared, Some(balance)))
}
