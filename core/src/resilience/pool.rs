//! Which of several endpoints is next.
