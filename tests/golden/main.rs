//! What real Fabric does with the same input, family by family.
//!
//! Every test walks all cases of one family below `$OPSSC_GOLDEN` (default `testdata/golden`), so the same program
//! judges other cases of the same layout. All failures of a family are reported together; a family without cases fails.

mod identities;
mod policies;
mod support;
