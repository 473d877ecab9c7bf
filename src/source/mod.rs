//! Chaincode sources: out of git, and from TypeScript to JavaScript.
//!
//! Everything here takes its input for hostile: it was written by whoever made a proposal. Nothing runs an external
//! program, and nothing of what was fetched is run.

#[cfg(feature = "git")]
pub mod git;
#[cfg(feature = "typescript")]
pub mod typescript;
