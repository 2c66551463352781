//! Latency, jitter and quality of a connection.
