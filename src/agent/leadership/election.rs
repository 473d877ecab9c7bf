//! Who leads, decided by what the record says and by the own clock alone.
//!
//! A module of its own because it is pure: a test is a table of moments. Clocks of other machines are never compared.
//! A replica remembers when *it* saw the record change last; a record that has not changed for its lease is free to be
//! claimed. Whoever leads stops earlier than that when it cannot renew.

use std::time::Duration;

use tokio::time::Instant;

/// Leases of others are believed up to this length.
const LONGEST: Duration = Duration::from_mins(5);

/// What a replica has written for the others to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Who leads; empty when nobody does.
    pub(super) holder: String,
    /// Different each time that the record is written.
    pub(super) stamp: String,
    /// After how long without a change the record is free, as its writer says.
    pub(super) lease: Option<Duration>,
}

/// What is to be done after the record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Somebody else leads.
    Wait,
    /// Nobody does: the own name is written.
    Claim,
    /// The own lease is prolonged.
    Renew,
}

/// One replica's view.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    lease: Duration,
    /// Whether a write that succeeds is known to have found the record as it was read.
    is_exclusive: bool,
    seen: Option<(Record, Instant)>,
    leads_until: Option<Instant>,
    /// A claim was written, and is to be read back.
    has_claimed: bool,
}

impl Election {
    pub(super) fn new(me: String, lease: Duration, is_exclusive: bool) -> Self {
        Self { me, lease, is_exclusive, seen: None, leads_until: None, has_claimed: false }
    }

    /// How often the record is looked at.
    pub(super) fn period(&self) -> Duration {
        self.lease / 10
    }

    /// How long one access to the record may take at `now`.
    pub(super) fn patience(&self, now: Instant) -> Duration {
        let patience = self.lease / 5;
        match self.leads_until {
            Some(until) if until > now => patience.min(until - now),
            _ => patience,
        }
    }

    /// How long a replica that cannot renew goes on leading: shorter than the others wait.
    fn trust(&self) -> Duration {
        self.lease * 2 / 3
    }

    pub(super) fn leads(&self, now: Instant) -> bool {
        self.leads_until.is_some_and(|until| now < until)
    }

    /// Who leads, as far as is known.
    pub(super) fn holder(&self) -> Option<&str> {
        self.seen.as_ref().map(|(record, _)| record.holder.as_str()).filter(|holder| !holder.is_empty())
    }

    /// Takes in the record, which was asked for at `now`.
    pub(super) fn read(&mut self, record: Option<Record>, now: Instant) -> Move {
        let has_claimed = std::mem::take(&mut self.has_claimed);
        let Some(record) = record else {
            self.seen = None;
            self.leads_until = None;
            return Move::Claim;
        };
        if record.holder == self.me {
            // Whoever wrote at the same time as we did is not named, so the claim holds.
            if has_claimed {
                self.leads_until = Some(now + self.trust());
            }
            self.seen = Some((record, now));
            return Move::Renew;
        }
        self.leads_until = None;
        let lease = record.lease.map_or(self.lease, |lease| lease.min(LONGEST));
        let is_free = record.holder.is_empty();
        match &self.seen {
            Some((known, since)) if *known == record => {
                if is_free || now.duration_since(*since) >= lease {
                    Move::Claim
                } else {
                    Move::Wait
                }
            }
            _ => {
                self.seen = Some((record, now));
                if is_free { Move::Claim } else { Move::Wait }
            }
        }
    }

    /// Takes in that the record was written; `now` is when that was begun.
    pub(super) fn wrote(&mut self, done: Move, record: Record, now: Instant) {
        match done {
            Move::Renew => self.leads_until = Some(now + self.trust()),
            Move::Claim if self.is_exclusive => self.leads_until = Some(now + self.trust()),
            Move::Claim => self.has_claimed = true,
            Move::Wait => {}
        }
        self.seen = Some((record, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, stamp: u32) -> Record {
        Record { holder: holder.to_owned(), stamp: stamp.to_string(), lease: Some(Duration::from_secs(10)) }
    }

    fn election(is_exclusive: bool) -> (Election, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let election = Election::new("me".to_owned(), Duration::from_secs(10), is_exclusive);
        (election, move |seconds| start + Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_changes_is_respected_and_one_that_does_not_is_claimed() {
        let (mut election, at) = election(true);
        assert_eq!(election.read(Some(record("other", 1)), at(0)), Move::Wait);
        assert_eq!(election.read(Some(record("other", 1)), at(9)), Move::Wait);
        assert_eq!(election.read(Some(record("other", 2)), at(10)), Move::Wait);
        assert_eq!(election.read(Some(record("other", 2)), at(19)), Move::Wait);
        assert_eq!(election.read(Some(record("other", 2)), at(20)), Move::Claim);
        assert_eq!(election.holder(), Some("other"));
        election.wrote(Move::Claim, record("me", 1), at(20));
        assert!(election.leads(at(20)) && election.leads(at(26)) && !election.leads(at(27)));
        assert_eq!(election.read(Some(record("me", 1)), at(21)), Move::Renew);
        election.wrote(Move::Renew, record("me", 2), at(21));
        assert!(election.leads(at(27)));
        assert_eq!(election.holder(), Some("me"));
        // Somebody else believed that the record was free.
        assert_eq!(election.read(Some(record("other", 3)), at(22)), Move::Wait);
        assert!(!election.leads(at(22)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_exclusive_writes_a_claim_is_read_back() {
        let (mut election, at) = election(false);
        assert_eq!(election.read(None, at(0)), Move::Claim);
        election.wrote(Move::Claim, record("me", 1), at(0));
        assert!(!election.leads(at(0)));
        let mut beaten = Election::new("me".to_owned(), Duration::from_secs(10), false);
        beaten.wrote(Move::Claim, record("me", 1), at(0));
        assert_eq!(beaten.read(Some(record("other", 1)), at(1)), Move::Wait);
        assert!(!beaten.leads(at(1)));
        assert_eq!(election.read(Some(record("me", 1)), at(1)), Move::Renew);
        assert!(election.leads(at(1)));
        // What it can read but not renew makes nobody lead.
        assert_eq!(election.read(Some(record("me", 1)), at(9)), Move::Renew);
        assert!(!election.leads(at(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_was_given_up_or_removed_is_claimed_at_once() {
        let (mut election, at) = election(true);
        assert_eq!(election.read(Some(record("", 1)), at(0)), Move::Claim);
        assert_eq!(election.read(Some(record("other", 2)), at(1)), Move::Wait);
        assert_eq!(election.read(Some(record("", 3)), at(2)), Move::Claim);
        assert_eq!(election.holder(), None);
        election.wrote(Move::Claim, record("me", 4), at(2));
        assert_eq!(election.read(None, at(3)), Move::Claim);
        assert!(!election.leads(at(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_lease_of_another_is_believed_within_reason() {
        let (mut election, at) = election(true);
        let long = |seconds| {
            Some(Record { holder: "other".to_owned(), stamp: String::new(), lease: Some(Duration::from_secs(seconds)) })
        };
        assert_eq!(election.read(long(60), at(0)), Move::Wait);
        assert_eq!(election.read(long(60), at(59)), Move::Wait);
        assert_eq!(election.read(long(60), at(60)), Move::Claim);
        assert_eq!(election.read(long(u64::MAX), at(61)), Move::Wait);
        assert_eq!(election.read(long(u64::MAX), at(361)), Move::Claim);
    }

    #[tokio::test(start_paused = true)]
    async fn an_access_never_outlasts_the_own_lease() {
        let (mut election, at) = election(true);
        assert_eq!(election.patience(at(0)), Duration::from_secs(2));
        election.wrote(Move::Claim, record("me", 1), at(0));
        assert_eq!(election.patience(at(1)), Duration::from_secs(2));
        assert_eq!(election.patience(at(6)).as_millis(), 666);
    }
}
