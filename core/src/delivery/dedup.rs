//! Ids seen lately.
