//! Retry schedules as iterators of waits.
//!
//! A module of its own because a schedule is data: who retries decides what is worth retrying, and a test can ask a
//! schedule for its waits without waiting. The end of the iterator means: give up.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Waits that double from a first to a longest one, spread by a quarter either way so that clients which failed
/// together do not return together.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
    left: Option<usize>,
    spread: Spread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    None,
    Quarter,
    Full,
}

impl Backoff {
    /// An endless schedule: `first`, then twice as long each time, at most `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first.min(longest), longest, left: None, spread: Spread::Quarter }
    }

    /// For transactions that lost against another one: at once, but not in step with the others who lost. Twenty tries.
    pub fn conflicts() -> Self {
        Self {
            next: Duration::from_millis(10),
            longest: Duration::from_millis(320),
            left: Some(20),
            spread: Spread::Full,
        }
    }

    /// Gives up after `attempts` waits.
    #[must_use]
    pub fn attempts(self, attempts: usize) -> Self {
        Self { left: Some(attempts), ..self }
    }

    /// The waits exactly, for tests and displays.
    #[must_use]
    pub fn without_jitter(self) -> Self {
        Self { spread: Spread::None, ..self }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        Some(match self.spread {
            Spread::None => wait,
            Spread::Quarter => wait.mul_f64(0.75 + 0.5 * fraction()),
            Spread::Full => wait.mul_f64(fraction()),
        })
    }
}

/// A number from 0 to 1 that differs from call to call and from process to process. Good enough to spread waits.
fn fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_ends() {
        let waits: Vec<_> = Backoff::new(Duration::from_secs(1), Duration::from_secs(5))
            .attempts(5)
            .without_jitter()
            .map(|wait| wait.as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn jitter_stays_near_the_wait() {
        let second = Duration::from_secs(1);
        let waits: Vec<_> = Backoff::new(second, second).attempts(200).collect();
        assert!(waits.iter().all(|wait| (0.74..1.26).contains(&wait.as_secs_f64())), "{waits:?}");
        assert!(waits.iter().any(|wait| wait != &waits[0]), "no spread at all");
    }

    #[test]
    fn conflicts_are_retried_at_once_but_not_for_ever() {
        let waits: Vec<_> = Backoff::conflicts().collect();
        assert_eq!(waits.len(), 20);
        assert!(waits[0] <= Duration::from_millis(10));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(320)));
    }
}
