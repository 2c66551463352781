//! What the benchmark and the programs that it starts have in common.

pub mod cases;
pub mod published;
pub mod usage;
pub mod wire;
