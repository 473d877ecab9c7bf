//! Tests of the ledger as a whole: transactions made by real keys, committed in blocks.

mod conflicts;
mod draft;
mod forms;
mod keys;
mod kit;
mod model;
mod policies;
mod real;
