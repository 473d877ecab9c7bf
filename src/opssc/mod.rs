//! The two contracts of the operations channel: their wire types, their events, typed calls to them, and themselves.
