//! Messages that wait for a connection.
