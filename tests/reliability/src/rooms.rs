//! Rooms of members that all publish and all hear each other, through the loss of their server.

use std::{ops::Range, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    ledger::{Balance, Sent},
    member::{Manner, Member, age},
    sheet::Sheet,
    watched::until,
};

/// Members of one room.
const ROOM: usize = 10;

/// Members that connect at the same time.
const AT_ONCE: usize = 100;

pub(crate) struct Rooms {
    members: Vec<Occupant>,
}

struct Occupant {
    member: Member,
    room: String,
    /// The first number that the old server may have taken with it, and the first one that it cannot have taken.
    at_risk: Option<u64>,
    safe_again: Option<u64>,
}

impl Rooms {
    /// Fills rooms with `count` members.
    pub(crate) async fn fill(url: &str, count: usize) -> Result<Self> {
        let mut members = Vec::new();
        for first in (0..count).step_by(AT_ONCE) {
            let mut joining = JoinSet::new();
            for number in first..count.min(first + AT_ONCE) {
                let url = url.to_owned();
                joining.spawn(async move {
                    let room = format!("room:{}", number / ROOM);
                    let member = Member::join(&url, u32::try_from(number)?, &[&room], Manner::default()).await?;
                    anyhow::Ok(Occupant { member, room, at_risk: None, safe_again: None })
                });
            }
            while let Some(joined) = joining.join_next().await {
                members.push(joined??);
            }
        }
        members.sort_by_key(|occupant| occupant.member.name);
        Ok(Self { members })
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Every member publishes each `every`, for so long.
    pub(crate) async fn publish_for(&mut self, every: Duration, lasts: Duration) -> Result<()> {
        let pause = async {
            sleep(lasts).await;
            Ok(())
        };
        self.publish_during(every, pause).await
    }

    /// Every member publishes each `every`, for as long as `work` takes.
    pub(crate) async fn publish_during<T>(
        &mut self,
        every: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let count = u32::try_from(self.members.len())?;
        let mut tick = interval(every / count);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut next = 0;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tick.tick() => {
                    self.members[next].publish()?;
                    next = (next + 1) % self.members.len();
                }
            }
        }
    }

    /// From here on the server may take with it what comes, and of each member the last messages before.
    pub(crate) fn mark_risk(&mut self, last: u64) {
        for occupant in &mut self.members {
            occupant.at_risk = Some(occupant.member.sent().saturating_sub(last));
        }
    }

    /// When each member was connected for the last time; fails when one is not.
    pub(crate) fn returns(&self) -> Result<Vec<Duration>> {
        let back = self.members.iter().map(|occupant| {
            ensure!(occupant.member.is_connected(), "member {} is not connected", occupant.member.name);
            occupant.member.diary().ups.last().copied().context("never connected")
        });
        back.collect()
    }

    /// Waits until all have been connected so often.
    pub(crate) async fn all_up(&self, times: usize, limit: Duration) -> Result<Duration> {
        let up = || self.members.iter().all(|one| one.member.is_connected() && one.member.diary().ups.len() >= times);
        until("every member is back", limit, up).await
    }

    /// What a look at each member gives.
    pub(crate) fn each<T>(&self, look: impl FnMut(&Member) -> T) -> Vec<T> {
        self.members.iter().map(|occupant| &occupant.member).map(look).collect()
    }

    /// Closes the books, and writes what they say.
    pub(crate) async fn settle(&self, sheet: &mut Sheet) -> Result<()> {
        sleep(Duration::from_secs(1)).await;
        let sum = self.balances();
        let open: Vec<u32> = self.members.iter().map(Occupant::open_losses).collect();
        let repeated = open.iter().filter(|count| **count > 1).count();
        sheet.note("published, times subscribers", sum.published);
        sheet.note("received", sum.received);
        sheet.note("told lost, with their number", sum.told);
        sheet.note("gone with the old server, told by an open `lost`", sum.told_open);
        sheet.exactly("members that were told of the end of the epoch", told(&open), self.len());
        sheet.exactly("members that were told of it more than once", repeated, 0);
        sheet.exactly("received twice or out of order", sum.repeated, 0);
        sheet.exactly("lost silently", sum.silent, 0);
        let odd: Vec<String> = self.members.iter().flat_map(|occupant| occupant.member.diary().odd.clone()).collect();
        sheet.exactly("refusals and drops", odd.len(), 0);
        odd.iter().take(3).for_each(|odd| sheet.note("one of them", odd));
        Ok(())
    }

    fn balances(&self) -> Balance {
        let mut sum = Balance::default();
        for room in self.members.chunks(ROOM) {
            let sent: Vec<Sent> = room.iter().map(Occupant::sent).collect();
            for occupant in room {
                sum += occupant.member.diary().books.entry(occupant.room.clone()).or_default().balance(&sent);
            }
        }
        sum
    }

    pub(crate) async fn leave(self) {
        let mut leaving = JoinSet::new();
        self.members.into_iter().for_each(|occupant| drop(leaving.spawn(occupant.member.leave())));
        while leaving.join_next().await.is_some() {}
    }
}

impl Occupant {
    fn publish(&mut self) -> Result<()> {
        // What is sent while there is no connection waits, and reaches the next server.
        if self.at_risk.is_some() && self.safe_again.is_none() && !self.member.is_connected() {
            self.safe_again = Some(self.member.sent());
        }
        let room = self.room.clone();
        self.member.publish(&room, 0).with_context(|| format!("member {} at {:?}", self.member.name, age()))
    }

    fn sent(&self) -> Sent {
        let count = self.member.sent();
        Sent { publisher: self.member.name, count, at_risk: self.risk(count) }
    }

    fn risk(&self, count: u64) -> Range<u64> {
        match (self.at_risk, self.safe_again) {
            (Some(from), Some(to)) => from..to,
            (Some(from), None) => from..count,
            (None, _) => 0..0,
        }
    }

    fn open_losses(&self) -> u32 {
        self.member.diary().books.values().map(crate::ledger::Book::open_losses).sum()
    }
}

fn told(open: &[u32]) -> usize {
    open.iter().filter(|count| **count > 0).count()
}
