//! What civil clocks show. The world knows the right time; each host's clock is wrong by a bit, and is set now and then.

use std::time::Duration;

use wse_client_core::time::{Moment, WallTime};

use crate::dice::Dice;

/// Unix milliseconds at the world's origin.
const ORIGIN: u64 = 1_771_601_400_000;

/// How far a clock is off at most. Two of them and the longest time that a frame lies unread must stay within the skew
/// that signatures allow.
const WORST: u64 = 60_000;

/// The civil clock of one host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Civil {
    /// In milliseconds: [`WORST`] is right.
    shown: u64,
}

impl Civil {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        // Most clocks are about right.
        let off = if dice.chance(70) { Duration::ZERO } else { dice.millis(0, 2 * WORST) };
        Self { shown: if off.is_zero() { WORST } else { off.as_millis() as u64 } }
    }

    /// What it shows.
    pub(crate) const fn at(self, now: Moment) -> WallTime {
        WallTime::from_unix_ms(ORIGIN - WORST + self.shown + now.as_millis())
    }
}
