//! A world for the protocol's engine: many clients, several servers with one history, bad links and worse luck, all on
//! one virtual clock and all from one seed. [`Invariant`] says what must be true in it.
//!
//! ```text
//! plan.rs        what a world is made of
//! world.rs       the clock, what is due, the step
//! civil.rs       what the clocks of hosts show
//! tab.rs         one client and the model it is held against
//! clients.rs     drivers and applications
//! line.rs        one connection and its faults
//! servers.rs     subscriptions, recovery, fan-out
//! ledger.rs      what became of each message
//! declared.rs    what servers said to be lost
//! history.rs     publications that all servers share
//! weather.rs     what goes wrong
//! invariants.rs  what must be true
//! ```

mod civil;
mod clients;
mod declared;
mod dice;
mod history;
mod invariants;
mod ledger;
mod line;
mod plan;
mod servers;
mod tab;
mod trace;
mod weather;
mod world;

pub use invariants::{Invariant, Violation};
pub use trace::Trace;
pub use world::{Report, World};

/// Runs one world without a trace.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run(seed: u64) -> Result<Report, Violation> {
    World::new(seed, Trace::Off).run()
}
