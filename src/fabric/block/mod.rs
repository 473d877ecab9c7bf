//! Blocks as they were committed: hashes, transactions, validation codes, events.
