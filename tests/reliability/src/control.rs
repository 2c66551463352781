//! A group of well-behaved clients that goes on talking while something else happens to the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    Setup,
    ledger::{Balance, Sent},
    member::{Manner, Member},
    sheet::{Of, Sheet},
    watched::Watched,
};

const TOPIC: &str = "control";

/// Who listens; the first one publishes.
pub(crate) const MEMBERS: u32 = 8;

/// One message in this time.
const EVERY: Duration = Duration::from_millis(20);

/// How late a message may come on a machine that is busy with the attack itself, in milliseconds: 99 of 100, and any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    late: f64,
    latest: f64,
}

impl Patience {
    /// The short forms are played with a debug build, which is ten times as slow.
    pub(crate) fn of(setup: &Setup) -> Self {
        setup.pick(Self { late: 3000.0, latest: 10_000.0 }, Self { late: 1000.0, latest: 5000.0 })
    }
}

/// A server, and the group that goes on talking.
pub(crate) struct Arena {
    pub(crate) server: Watched,
    pub(crate) group: Group,
    patience: Patience,
}

impl Arena {
    /// Starts a server and a group, and lets them talk for a moment before the counting begins.
    pub(crate) async fn open(setup: &Setup, options: &[&str]) -> Result<Self> {
        let mut server = Watched::start(setup, options).await?;
        let group = Group::start(&server.url(), 0).await?;
        sleep(Duration::from_millis(300)).await;
        server.begin()?;
        Ok(Self { server, group, patience: Patience::of(setup) })
    }

    /// Ends the counting. `most_mib`: by how much the server's memory may have grown at any time.
    pub(crate) async fn close(self, sheet: &mut Sheet, most_mib: f64) -> Result<()> {
        self.server.usage(sheet, most_mib)?;
        self.group.finish().await?.report(sheet, "others", self.patience);
        Ok(())
    }
}

/// Members that talk until they are told to stop.
pub(crate) struct Group {
    stop: Arc<AtomicBool>,
    talking: JoinHandle<Result<Vec<Member>>>,
}

/// How a group fared.
pub(crate) struct Fared {
    pub(crate) balance: Balance,
    pub(crate) delays: Delays,
    disconnects: usize,
    odd: Vec<String>,
}

/// From publisher to subscriber, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delays {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

impl Group {
    /// Connects the members and begins to talk. `pad`: additional bytes in each message.
    pub(crate) async fn start(url: &str, pad: usize) -> Result<Self> {
        let mut members = Vec::new();
        for name in 0..MEMBERS {
            members.push(Member::join(url, name, &[TOPIC], Manner::default()).await?);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let talking = tokio::spawn(talk(members, Arc::clone(&stop), pad));
        Ok(Self { stop, talking })
    }

    /// Stops, and closes the books.
    pub(crate) async fn finish(self) -> Result<Fared> {
        self.stop.store(true, Ordering::Relaxed);
        let members = self.talking.await??;
        let sent: Vec<Sent> =
            members.iter().map(|member| Sent { publisher: member.name, count: member.sent(), at_risk: 0..0 }).collect();
        // What is under way still has time to arrive.
        for _ in 0..50 {
            let all = sent.iter().map(|sent| sent.count).sum::<u64>();
            let arrived = |member: &Member| member.diary().books.values().all(|book| book.accounted() >= all);
            if members.iter().all(arrived) {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let (mut balance, mut delays, mut disconnects, mut odd) = (Balance::default(), Vec::new(), 0, Vec::new());
        for member in &members {
            let mut diary = member.diary();
            balance += diary.books.entry(TOPIC.into()).or_default().balance(&sent);
            delays.append(&mut diary.delays);
            disconnects += diary.downs.len();
            odd.append(&mut diary.odd);
        }
        for member in members {
            member.leave().await;
        }
        Ok(Fared { balance, delays: Delays::of(delays).context("no message came")?, disconnects, odd })
    }
}

async fn talk(mut members: Vec<Member>, stop: Arc<AtomicBool>, pad: usize) -> Result<Vec<Member>> {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        members[0].publish(TOPIC, pad)?;
    }
    Ok(members)
}

impl Fared {
    /// Writes down that nothing was lost and nobody waited too long.
    pub(crate) fn report(&self, sheet: &mut Sheet, who: &str, patience: Patience) {
        let Balance { published, received, told, silent, repeated, .. } = self.balance;
        sheet.exactly(format!("{who}: received, of what was published times {MEMBERS}"), received, published);
        sheet.exactly(format!("{who}: lost, told and silent"), told + silent, 0);
        sheet.exactly(format!("{who}: received twice or out of order"), repeated, 0);
        sheet.exactly(format!("{who}: disconnects and refusals"), self.disconnects + self.odd.len(), 0);
        self.odd.iter().take(3).for_each(|odd| sheet.note("one of them", odd));
        sheet.note(format!("{who}: delay, half of the messages"), Of(self.delays.p50, "ms"));
        sheet.most(format!("{who}: delay, 99 of 100"), Of(self.delays.p99, "ms"), Of(patience.late, "ms"));
        sheet.most(format!("{who}: delay, most"), Of(self.delays.most, "ms"), Of(patience.latest, "ms"));
    }
}

impl Delays {
    pub(crate) fn of(mut samples: Vec<f32>) -> Option<Self> {
        samples.sort_by(f32::total_cmp);
        let last = samples.len().checked_sub(1)?;
        let at = |share: f64| f64::from(samples[(last as f64 * share) as usize]);
        Some(Self { p50: at(0.5), p99: at(0.99), most: at(1.0) })
    }
}
