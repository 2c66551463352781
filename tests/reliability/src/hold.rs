//! Very many connections, held for long, with publishing all the while.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    Setup,
    control::Delays,
    ledger::{Balance, Sent},
    member::{Manner, Member},
    plot::Curve,
    sheet::{Of, Sheet},
    watched::{Watched, until},
};

/// Who hears each other.
const ROOM: usize = 100;

/// Everyone listens to this one, too.
const ALL: &str = "all";

/// Connections that are made at the same time.
const AT_ONCE: usize = 50;

/// Rings and histories are full within the first minute, so that they do not grow after it.
const OPTIONS: &[&str] =
    &["--max-connections", "12000", "--ring-messages", "256", "--history-messages", "32", "--history-age", "30s"];

/// How much more memory the server may have at the end than after the first minute.
const GROWTH: f64 = 1.10;

pub(crate) async fn run(setup: &Setup, sheet: &mut Sheet) -> Result<()> {
    let (count, lasts, settled) = setup.pick((1000, 10, 3), (10_000, 600, 60));
    let mut server = Watched::start(setup, OPTIONS).await?;
    let empty = server.resident_mib()?;
    let began = Instant::now();
    let mut rooms = fill(&server.url(), count).await?;
    sheet.note("connections", count);
    sheet.note("until all were connected", Of(began.elapsed().as_secs_f64(), "s"));
    server.begin()?;
    let memory = publish(&mut rooms, &server, Duration::from_secs(lasts)).await?;
    let share = 100.0 * server.cpu_seconds()? / lasts as f64;
    settle(&rooms, sheet).await?;
    let at = |second: u64| memory.iter().find(|(time, _)| *time >= second as f64).or(memory.last());
    let (early, late) = (at(settled).map_or(0.0, |at| at.1), at(lasts - 1).map_or(0.0, |at| at.1));
    sheet.note("held for", Of(lasts as f64, "s"));
    sheet.note("server: CPU", Of(share, "% of one core"));
    sheet.note("server: memory without connections", Of(empty, "MiB"));
    sheet.note(format!("server: memory after {settled} s"), Of(early, "MiB"));
    sheet.most("server: memory at the end", Of(late, "MiB"), Of(early * GROWTH, "MiB"));
    let each = (late - empty) * 1024.0 / count as f64;
    sheet.most("server: memory of each connection that talks", Of(each, "KiB"), Of(64.0, "KiB"));
    if let Some(folder) = &setup.plots {
        let title = format!("{count} connections with publishing: memory of the server");
        Curve { title, unit: "MiB", points: &memory }.write(&folder.join("reliability-memory.svg"))?;
    }
    let mut leaving = JoinSet::new();
    rooms.into_iter().flatten().for_each(|member| drop(leaving.spawn(member.leave())));
    while leaving.join_next().await.is_some() {}
    let left = server.health().await?["connections"].as_u64().unwrap_or(u64::MAX);
    sheet.exactly("connections that the server still has after all have left", left, 0);
    Ok(())
}

async fn fill(url: &str, count: usize) -> Result<Vec<Vec<Member>>> {
    let mut members = Vec::new();
    for first in (0..count).step_by(AT_ONCE) {
        let mut joining = JoinSet::new();
        for number in first..count.min(first + AT_ONCE) {
            let url = url.to_owned();
            joining.spawn(async move {
                let room = format!("hold:{}", number / ROOM);
                Member::join(&url, u32::try_from(number)?, &[ALL, &room], Manner::default()).await
            });
        }
        while let Some(joined) = joining.join_next().await {
            members.push(joined??);
        }
    }
    members.sort_by_key(|member| member.name);
    let mut rooms = Vec::new();
    while !members.is_empty() {
        rooms.push(members.drain(..ROOM.min(members.len())).collect());
    }
    Ok(rooms)
}

/// The first of each room publishes to it, each second; the very first to all, every tenth second. Gives the server's
/// memory over time.
async fn publish(rooms: &mut [Vec<Member>], server: &Watched, lasts: Duration) -> Result<Vec<(f64, f64)>> {
    let began = Instant::now();
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(rooms.len())?);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut memory = Vec::new();
    for turn in 0.. {
        tick.tick().await;
        if began.elapsed() >= lasts {
            break;
        }
        let number = turn % rooms.len();
        let room = format!("hold:{number}");
        rooms[number][0].publish(&room, 0)?;
        if number == 0 {
            memory.push((began.elapsed().as_secs_f64(), server.resident_mib()?));
            if turn / rooms.len() % 10 == 5 {
                rooms[0][1].publish(ALL, 0)?;
            }
        }
    }
    Ok(memory)
}

/// Closes the books.
async fn settle(rooms: &[Vec<Member>], sheet: &mut Sheet) -> Result<()> {
    let of = |member: &Member| [Sent { publisher: member.name, count: member.sent(), at_risk: 0..0 }];
    let everyone = of(&rooms[0][1]);
    let rows: Vec<(&Member, String, [Sent; 1])> = rooms
        .iter()
        .enumerate()
        .flat_map(|(number, room)| room.iter().map(move |member| (member, format!("hold:{number}"), of(&room[0]))))
        .collect();
    let arrived = || {
        rows.iter().all(|(member, room, sent)| {
            let diary = member.diary();
            let has = |topic: &str| diary.books.get(topic).map_or(0, crate::ledger::Book::accounted);
            has(room) >= sent[0].count && has(ALL) >= everyone[0].count
        })
    };
    let missing = until("everything has arrived", Duration::from_secs(20), arrived).await;
    let (mut sum, mut delays, mut downs, mut odd) = (Balance::default(), Vec::new(), 0, 0);
    for (member, room, sent) in &rows {
        let mut diary = member.diary();
        sum += diary.books.entry(room.clone()).or_default().balance(sent);
        sum += diary.books.entry(ALL.into()).or_default().balance(&everyone);
        delays.append(&mut diary.delays);
        downs += diary.downs.len();
        odd += diary.odd.len();
    }
    sheet.exactly("received, of what was published times subscribers", sum.received, sum.published);
    sheet.exactly("lost, told and silent", sum.told + sum.silent, 0);
    sheet.exactly("received twice or out of order", sum.repeated, 0);
    sheet.exactly("connections that ended, refusals", downs + odd, 0);
    if let Some(delays) = Delays::of(delays) {
        sheet.note("delay, half of the messages", Of(delays.p50, "ms"));
        sheet.note("delay, 99 of 100", Of(delays.p99, "ms"));
        sheet.most("delay, most", Of(delays.most, "ms"), Of(10_000.0, "ms"));
    }
    missing.map(|_| ())
}
