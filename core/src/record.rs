//! A bounded flight recorder of inputs and decisions, and its replay.
