//! Bounds on what a peer may send, enforced before the work is done.

/// Limits of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame in bytes, as it comes off the socket. Default 1 MiB.
    pub max_frame: usize,
    /// Largest message in bytes after inflating. Default 1 MiB.
    pub max_inflated: usize,
    /// Deepest nesting of arrays and maps in a member; the envelope itself does not count. Default 64; more than
    /// 256 has no effect.
    pub max_depth: usize,
    /// Longest `t`, `id` or other string member of the envelope in bytes. Default 1024.
    pub max_member: usize,
    /// Most topics in one request, and on one connection. Default 1000.
    pub max_topics: usize,
    /// Most messages in one `batch`. Default 1000.
    pub max_batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 1 << 20,
            max_inflated: 1 << 20,
            max_depth: 64,
            max_member: 1024,
            max_topics: 1000,
            max_batch: 1000,
        }
    }
}
