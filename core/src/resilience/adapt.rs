//! What to turn down on a poor network.
