//! The sequence numbers of one connection.
