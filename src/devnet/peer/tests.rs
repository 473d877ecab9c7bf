//! A peer as a whole.
