//! Where a client stands in each recoverable topic.
