//! A bounded queue with five levels and a drop order.
