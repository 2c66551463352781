//! SIGKILL under publishing clients: the server is gone without a word, and comes back with an empty memory.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::{
    Setup,
    member::age,
    plot::Histogram,
    rooms::Rooms,
    sheet::{Of, Sheet},
    watched::Watched,
};

/// Each member publishes once in this time.
const EVERY: Duration = Duration::from_millis(500);

/// What a busy machine may add to the pause that a client drew.
const SLACK: f64 = 5.0;

const OPTIONS: &[&str] = &["--history-messages", "4096", "--history-age", "10m"];

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let (count, gone) = setup.pick((200, Duration::from_millis(1500)), (2000, Duration::from_secs(4)));
    let every = setup.pick(EVERY, EVERY * 4);
    let first = Watched::start(setup, OPTIONS).await?;
    let address = first.server.address;
    let mut rooms = Rooms::fill(&first.url(), count).await?;
    rooms.publish_for(every, Duration::from_secs(2)).await?;
    // Messages of the last second may be on their way still.
    rooms.mark_risk(setup.pick(2, 1));
    let killed = age();
    let down = async {
        first.server.kill().await?;
        sleep(gone).await;
        Watched::start_at(setup, address, OPTIONS).await
    };
    let server = rooms.publish_during(every, down).await?;
    let up = age();
    let waiting = setup.pick(6, 20);
    rooms.publish_for(every, Duration::from_secs(waiting)).await?;
    rooms.all_up(2, Duration::from_secs(60)).await?;
    let returns: Vec<f64> = rooms.returns()?.into_iter().map(|at| at.as_secs_f64() - up.as_secs_f64()).collect();
    report(sheet, &rooms, &returns, up.as_secs_f64() - killed.as_secs_f64());
    rooms.settle(sheet).await?;
    let again = server.counter("connections_accepted").await?;
    sheet.most("connections that the new server let in", again, count as u64 + count as u64 / 10);
    if let Some(folder) = &setup.plots {
        let title = format!("{count} clients after SIGKILL: when they were back");
        Histogram { title, unit: "seconds after the new server was up", values: &returns }
            .write(&folder.join("reliability-kill.svg"))?;
    }
    rooms.leave().await;
    Ok(())
}

fn report(sheet: &mut Sheet, rooms: &Rooms, returns: &[f64], away: f64) {
    let attempts = rooms.each(|member| member.diary().downs.len());
    let parked = rooms.each(|member| member.diary().downs.iter().any(|(_, down)| down.retry_in.is_none()));
    let pauses = rooms.each(|member| {
        let longest = member.diary().downs.iter().filter_map(|(_, down)| down.retry_in).max();
        longest.unwrap_or_default().as_secs_f64()
    });
    let widest = widest_pause(attempts.iter().copied().max().unwrap_or(0));
    let longest = pauses.iter().copied().fold(0.0, f64::max);
    let last = returns.iter().copied().fold(0.0, f64::max);
    sheet.note("clients that publish and listen", rooms.len());
    sheet.note("server away for", Of(away, "s"));
    sheet.note("attempts of a client, most", attempts.iter().max().unwrap_or(&0));
    sheet.exactly("clients without a next attempt on the clock", parked.iter().filter(|parked| **parked).count(), 0);
    sheet.most("longest pause that a client drew", Of(longest, "s"), Of(widest, "s"));
    sheet.exactly("clients that are back", returns.len(), rooms.len());
    sheet.most("the last one was back after", Of(last, "s"), Of(longest + SLACK, "s"));
    let mut sorted = returns.to_vec();
    sorted.sort_by(f64::total_cmp);
    sheet.note("half of them were back after", Of(sorted[sorted.len() / 2], "s"));
}

/// The jitter window after so many failures in a row. Source: PROTOCOL.md §7.2.
fn widest_pause(failures: usize) -> f64 {
    1.5_f64.powi(i32::try_from(failures).unwrap_or(i32::MAX)).min(30.0)
}
