//! The server's clock and its source of ids: what the engine must not have itself.

use std::{
    cell::RefCell,
    time::{Duration, Instant, SystemTime},
};

use wse_client_core::{
    rng::{Rng, Seed},
    time::{Moment, WallTime},
};

/// Counts milliseconds since it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> Moment {
        Moment::from_millis(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since it was made: for times that are measured, not for timers.
    pub(crate) fn nanos(self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant of a moment, for timers.
    pub(crate) fn instant(self, moment: Moment) -> tokio::time::Instant {
        (self.origin + Duration::from_millis(moment.as_millis())).into()
    }
}

/// Civil time. A system clock before 1970 counts as 1970.
pub(crate) fn wall() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

thread_local! {
    static RNG: RefCell<Rng> = RefCell::new(Rng::new(seed()));
}

/// A fresh seed from the operating system.
pub(crate) fn seed() -> Seed {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    Seed::from_bytes(bytes)
}

/// A seed for one connection, without a system call.
pub(crate) fn derived_seed() -> Seed {
    RNG.with_borrow_mut(|rng| Seed::from_bytes(rng.bytes()))
}

/// A UUIDv7.
pub(crate) fn new_id(wall: WallTime) -> String {
    RNG.with_borrow_mut(|rng| rng.message_id(wall))
}

/// `prefix` and 16 random hex digits.
pub(crate) fn random_name(prefix: &str) -> String {
    let bytes: [u8; 8] = RNG.with_borrow_mut(Rng::bytes);
    format!("{prefix}{:016x}", u64::from_be_bytes(bytes))
}
