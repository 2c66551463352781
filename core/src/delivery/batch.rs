//! Several small messages in one frame.
