//! Signature policies: how they are written, what they demand.
