//! What the benchmark and `wse-bench-cost` both do.

pub mod cases;
