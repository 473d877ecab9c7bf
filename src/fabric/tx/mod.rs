//! Proposals, endorsements, envelopes: from what is called to what is ordered.
