//! Time as the engine sees it: moments handed in by the driver, never read from a clock.

use std::{fmt, ops::Add, time::Duration};

/// A point on the driver's monotonic clock: milliseconds since an origin that the driver picks.
///
/// Not `std::time::Instant`, because an `Instant` cannot be made from `performance.now()` or
/// `time.monotonic()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The driver's origin, zero milliseconds.
    pub const ORIGIN: Self = Self(0);

    /// A moment `ms` milliseconds after the origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The first moment at which all of `length` has passed: a fraction of a millisecond counts as a whole one, so that
/// `now.since(start) >= length` holds at `start + length`.
impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        let ms = u64::try_from(length.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(ms))
    }
}

/// Civil time in Unix milliseconds: for stamps in messages, and for the age of signatures and tokens. No timer and no
/// pause depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(u64);

impl WallTime {
    /// Civil time from Unix milliseconds.
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Unix milliseconds.
    pub const fn as_unix_ms(self) -> u64 {
        self.0
    }
}

/// RFC 3339 in UTC with milliseconds and `Z`, the form of the envelope's `ts`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms_of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
        let (second, ms) = (ms_of_day / 1000 % 60, ms_of_day % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// Gregorian date of a day number since 1970-01-01, counting years from March so that the leap day
/// is the last day of a year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Turns moments of the driver's clock into civil time.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    reading: Reading,
    /// The one before, for moments that were before the clock was set.
    earlier: Reading,
}

/// What a civil clock showed, and when.
#[derive(Debug, Clone, Copy)]
struct Reading {
    wall: WallTime,
    at: Moment,
}

impl WallClock {
    /// How far it may be off before it is set, in milliseconds.
    const TOLERANCE: u64 = 1000;

    /// A clock that showed `wall` at the moment `at`.
    pub const fn new(wall: WallTime, at: Moment) -> Self {
        let reading = Reading { wall, at };
        Self { reading, earlier: reading }
    }

    /// Civil time at the moment `now`.
    pub fn at(self, now: Moment) -> WallTime {
        let Reading { wall, at } = if now < self.reading.at { self.earlier } else { self.reading };
        WallTime(wall.0.saturating_add(now.as_millis()).saturating_sub(at.as_millis()))
    }

    /// Sets the clock to what the host's shows at `now`, and says whether it was off by more than a second. Moments
    /// before `now` keep their civil time.
    pub fn set(&mut self, wall: WallTime, now: Moment) -> bool {
        let off = self.at(now).0.abs_diff(wall.0) > Self::TOLERANCE;
        if off {
            self.earlier = self.reading;
            self.reading = Reading { wall, at: now };
        }
        off
    }
}

/// One deadline for each variant of a timer enum with `N` variants.
///
/// A machine asks [`Timers::next`] what to wait for and [`Timers::expired`] what is due.
#[derive(Debug, Clone)]
pub struct Timers<T, const N: usize> {
    kinds: [T; N],
    deadlines: [Option<Moment>; N],
}

impl<T: Copy + PartialEq, const N: usize> Timers<T, N> {
    /// A table with no deadline set; `kinds` lists every variant once.
    pub const fn new(kinds: [T; N]) -> Self {
        Self { kinds, deadlines: [None; N] }
    }

    /// Sets or moves the deadline of `kind`.
    pub fn set(&mut self, kind: T, at: Moment) {
        *self.slot(kind) = Some(at);
    }

    /// Removes the deadline of `kind`.
    pub fn clear(&mut self, kind: T) {
        *self.slot(kind) = None;
    }

    /// Removes every deadline.
    pub fn clear_all(&mut self) {
        self.deadlines = [None; N];
    }

    /// Every deadline that is set.
    pub fn armed(&self) -> impl Iterator<Item = (T, Moment)> + '_ {
        self.kinds.iter().zip(&self.deadlines).filter_map(|(kind, at)| at.map(|at| (*kind, at)))
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Moment> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Takes the earliest deadline that is due at `now`; call until it answers `None`.
    pub fn expired(&mut self, now: Moment) -> Option<T> {
        let (index, _) = self
            .deadlines
            .iter()
            .enumerate()
            .filter_map(|(index, at)| at.filter(|at| *at <= now).map(|at| (index, at)))
            .min_by_key(|(_, at)| *at)?;
        self.deadlines[index] = None;
        Some(self.kinds[index])
    }

    fn slot(&mut self, kind: T) -> &mut Option<Moment> {
        let index = self.kinds.iter().position(|k| *k == kind).expect("the table lists every timer");
        &mut self.deadlines[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_prints_rfc3339_with_milliseconds() {
        assert_eq!(WallTime::from_unix_ms(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallTime::from_unix_ms(951_782_400_001).to_string(), "2000-02-29T00:00:00.001Z");
        assert_eq!(WallTime::from_unix_ms(1_771_601_400_123).to_string(), "2026-02-20T15:30:00.123Z");
    }

    #[test]
    fn a_length_has_passed_at_its_end() {
        for nanos in [0, 1, 999_999, 1_000_000, 1_000_001, 5_500_000] {
            let (start, length) = (Moment::from_millis(1000), Duration::from_nanos(nanos));
            let end = start + length;
            assert!(end.since(start) >= length, "{nanos} ns");
            assert!(end.since(start) < length + Duration::from_millis(1), "{nanos} ns");
        }
        assert_eq!(Moment::from_millis(1) + Duration::MAX, Moment::from_millis(u64::MAX));
    }

    #[test]
    fn a_wall_clock_is_set_when_it_is_off_and_knows_what_it_showed_before() {
        let (at, wall) = (Moment::from_millis, WallTime::from_unix_ms);
        let mut clock = WallClock::new(wall(5_000_000), at(1000));
        assert!(!clock.set(wall(5_002_000), at(2000)), "a second is nothing");
        assert_eq!(clock.at(at(2000)), wall(5_001_000));
        assert!(clock.set(wall(9_000_000), at(3000)), "the host slept");
        assert_eq!((clock.at(at(3000)), clock.at(at(3500))), (wall(9_000_000), wall(9_000_500)));
        assert_eq!(clock.at(at(2000)), wall(5_001_000));
        assert!(clock.set(wall(0), at(4000)), "it was wrong");
        assert_eq!((clock.at(at(4001)), clock.at(at(3500))), (wall(1), wall(9_000_500)));
        assert!(clock.set(wall(u64::MAX), at(5000)));
        assert_eq!(clock.at(at(6000)).as_unix_ms(), u64::MAX - 5000, "no overflow");
    }

    #[test]
    fn timers_fire_in_order_of_deadline() {
        let mut timers = Timers::new(['a', 'b', 'c']);
        timers.set('a', Moment::from_millis(30));
        timers.set('b', Moment::from_millis(10));
        timers.set('c', Moment::from_millis(99));
        assert_eq!(timers.next(), Some(Moment::from_millis(10)));
        let now = Moment::from_millis(40);
        assert_eq!(timers.expired(now), Some('b'));
        assert_eq!(timers.expired(now), Some('a'));
        assert_eq!(timers.expired(now), None);
        assert_eq!(timers.next(), Some(Moment::from_millis(99)));
    }
}
