//! When to try again, where, and how well the network does.
//!
//! ```text
//! backoff.rs   pauses between attempts
//! breaker.rs   closed, open, half open: when to stop asking for a while
//! pool.rs      which of several endpoints is next
//! network.rs   latency, jitter, quality
//! adapt.rs     what to turn down on a poor network
//! ```

mod adapt;
mod backoff;
mod breaker;
mod network;
mod pool;

pub use adapt::{Adaptation, AdaptiveQuality};
pub use backoff::{Backoff, BackoffStrategy, ReturnWindow};
pub use breaker::{BreakerConfig, BreakerState, CircuitBreaker};
pub use network::{NetworkMonitor, NetworkReport, Quality, Suggestion};
pub use pool::{BalanceStrategy, EndpointPool, EndpointReport, PoolConfig};
