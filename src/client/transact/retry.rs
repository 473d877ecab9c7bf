//! When a transaction is tried again as a new one.
//!
//! A module of its own because it is a decision and nothing else: what went wrong and how often, in; how long to wait,
//! out. A transaction that may still take effect is never repeated: it is looked up.

use std::time::Duration;

use super::SubmitError;
use crate::fabric::block::ValidationCode;
use crate::runtime::retry::Backoff;

/// What is worth a new transaction, and how often.
///
/// ```
/// use std::time::Duration;
/// use opssc::client::Retry;
/// use opssc::runtime::retry::Backoff;
///
/// let patient = Retry::new(Backoff::new(Duration::from_millis(50), Duration::from_secs(5)).attempts(10)).unordered(true);
/// # drop(patient);
/// ```
#[derive(Debug, Clone)]
pub struct Retry {
    waits: Backoff,
    conflicts: bool,
    policy_failures: usize,
    unordered: bool,
}

impl Retry {
    /// Tries again for as long as `waits` lasts what lost against another transaction (`MVCC_READ_CONFLICT`,
    /// `PHANTOM_READ_CONFLICT`, endorsers at different blocks); and once what the endorsement policy refused, where the
    /// endorsers are found anew for each transaction.
    pub fn new(waits: Backoff) -> Self {
        Self { waits, conflicts: true, policy_failures: 1, unordered: false }
    }

    /// Tries nothing again.
    pub fn never() -> Self {
        Self { waits: Backoff::conflicts().attempts(0), conflicts: false, policy_failures: 0, unordered: false }
    }

    /// Whether to try again what lost against another transaction.
    #[must_use]
    pub fn conflicts(self, yes: bool) -> Self {
        Self { conflicts: yes, ..self }
    }

    /// How often to try again what the endorsement policy refused. Of endorsers that are named the same would come out,
    /// so only of those that are found anew.
    #[must_use]
    pub fn policy_failures(self, times: usize) -> Self {
        Self { policy_failures: times, ..self }
    }

    /// Whether to try again what was not endorsed or not ordered for reasons that may pass: nodes away or too busy.
    #[must_use]
    pub fn unordered(self, yes: bool) -> Self {
        Self { unordered: yes, ..self }
    }

    /// How long to wait before the next try; `None` when there is to be none. `found_anew` says whether the endorsers
    /// may be others then.
    pub(in crate::client) fn after(&mut self, error: &SubmitError, found_anew: bool) -> Option<Duration> {
        let again = match error {
            SubmitError::Invalidated { code: ValidationCode::EndorsementPolicyFailure, .. } => {
                let left = found_anew && self.policy_failures > 0;
                self.policy_failures -= usize::from(left);
                left
            }
            error if error.is_conflict() => self.conflicts,
            SubmitError::NoEndorsers { .. } | SubmitError::Endorse { .. } | SubmitError::NotOrdered { .. } => {
                self.unordered && error.is_retryable()
            }
            _ => false,
        };
        if again { self.waits.next() } else { None }
    }

    /// How long to wait before an undecided transaction is looked up once more.
    pub(in crate::client) fn next_lookup(&mut self) -> Option<Duration> {
        self.waits.next()
    }
}

impl From<Backoff> for Retry {
    fn from(waits: Backoff) -> Self {
        Self::new(waits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::BroadcastError;
    use super::*;
    use crate::fabric::names::TxId;

    fn invalid(code: ValidationCode) -> SubmitError {
        SubmitError::Invalidated { tx_id: TxId::of(b"nonce", b"creator"), block: 7, code }
    }

    fn unordered(certain: bool) -> SubmitError {
        let source = BroadcastError::Unavailable { failures: Vec::new(), certain };
        SubmitError::NotOrdered { tx_id: TxId::of(b"nonce", b"creator"), source }
    }

    #[test]
    fn only_what_may_come_out_otherwise_is_tried_again() {
        let waits = || Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).attempts(3);
        let usual = || Retry::new(waits());
        let mvcc = invalid(ValidationCode::MvccReadConflict);
        let phantom = invalid(ValidationCode::PhantomReadConflict);
        let policy = invalid(ValidationCode::EndorsementPolicyFailure);
        let bad = invalid(ValidationCode::BadPayload);
        let undecided =
            SubmitError::Undecided { tx_id: TxId::of(b"nonce", b"creator"), waited: Duration::from_secs(1) };
        for (retry, error, found_anew, again) in [
            (usual(), &mvcc, false, true),
            (usual(), &phantom, false, true),
            (usual().conflicts(false), &mvcc, false, false),
            (usual(), &policy, true, true),
            (usual(), &policy, false, false),
            (usual().policy_failures(0), &policy, true, false),
            (usual(), &bad, true, false),
            (usual(), &undecided, true, false),
            (usual(), &unordered(true), false, false),
            (usual().unordered(true), &unordered(true), false, true),
            (Retry::never(), &mvcc, true, false),
            (Retry::from(waits().attempts(0)), &mvcc, true, false),
        ] {
            let mut tried = retry.clone();
            assert_eq!(tried.after(error, found_anew).is_some(), again, "{retry:?} after {error}");
        }
        let mut once = usual();
        assert!(once.after(&policy, true).is_some() && once.after(&policy, true).is_none());
        assert!(once.after(&mvcc, true).is_some(), "conflicts are counted for themselves");
    }
}
