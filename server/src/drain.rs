//! Going away without hurting anyone: readiness turns red, clients are sent away in batches, and each is told when to
//! come back.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use wse_client_core::time::Moment;

use crate::{
    hub::Ending,
    server::{Server, Stage},
};

/// Time between two batches.
const BATCH_EVERY: Duration = Duration::from_millis(100);

/// When the last client is sent away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    last: Moment,
}

impl Server {
    /// Goes away in order: `GET /wse/ready` says no for [`Config::drain_delay`](crate::Config::drain_delay) while
    /// everything else goes on; then clients are sent away in batches, spread over
    /// [`Config::drain_window`](crate::Config::drain_window), each told when to come back (close code 4300), and who comes
    /// in meanwhile is sent away too; then the server stops, as by [`Server::shutdown`] with
    /// [`Config::shutdown_timeout`](crate::Config::shutdown_timeout). Answers how many connections were cut.
    ///
    /// Dropping the future stops it halfway; [`Server::shutdown`] can be called then.
    pub async fn drain(&self) -> usize {
        let (began, config) = (Instant::now(), self.config());
        self.advance(Stage::Leaving);
        tracing::info!(connections = self.connection_count(), delay = ?config.drain_delay, "leaving: not ready any more");
        tokio::time::sleep(config.drain_delay).await;
        self.send_away().await;
        let until = Instant::now() + config.shutdown_timeout;
        // Those who came in since, and slow readers. New ones are sent away at their entry.
        let _ = tokio::time::timeout_at(until, self.all_gone()).await;
        let cut = self.shutdown(until.saturating_duration_since(Instant::now())).await;
        let (sent_away, took) = (self.stats().connections_drained, began.elapsed());
        tracing::info!(sent_away, cut, took = %format_args!("{:.1}s", took.as_secs_f64()), "drained");
        cut
    }

    /// Sends everybody away, a few at a time.
    async fn send_away(&self) {
        let batches = batches(self.config().drain_window, self.links().len());
        let schedule = Schedule { last: self.now() + BATCH_EVERY * (batches - 1) };
        self.schedule_drain(schedule);
        self.advance(Stage::Draining);
        // The eldest first. Who comes in from here on is told at once.
        let mut links = self.links();
        tracing::info!(connections = links.len(), window = ?self.config().drain_window, "sending clients away");
        links.sort_by_key(|link| std::cmp::Reverse(link.number()));
        let mut tick = tokio::time::interval(BATCH_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for left in (1..=batches).rev() {
            tick.tick().await;
            let size = links.len().div_ceil(left as usize);
            for link in links.drain(links.len() - size..) {
                link.end_with(self.farewell(schedule));
            }
        }
    }

    /// What a client is told that is sent away now.
    pub(crate) fn farewell(&self, schedule: Schedule) -> Ending {
        let config = self.config();
        if config.drain_handover {
            return Ending::Drain { retry_after: Duration::ZERO, window: BATCH_EVERY };
        }
        let remaining = schedule.last.since(self.now());
        Ending::Drain { retry_after: remaining + config.drain_retry_after, window: config.drain_window }
    }
}

/// How many batches there are: not more than clients.
fn batches(window: Duration, clients: usize) -> u32 {
    let most = window.as_millis() / BATCH_EVERY.as_millis();
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    most.min(u32::try_from(clients).unwrap_or(u32::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_not_more_batches_than_clients() {
        let five = Duration::from_secs(5);
        for (window, clients, expected) in [(five, 0, 1), (five, 3, 3), (five, 10_000, 50), (Duration::ZERO, 10_000, 1)]
        {
            assert_eq!(batches(window, clients), expected);
        }
    }
}
