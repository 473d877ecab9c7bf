//! Whether a node has answered of late.
//!
//! A module of its own because it is shared by everybody who speaks to a node: all clones of a client, all channels. It
//! only advises: a node that is resting is asked last, not never, so that nobody is left without an answer because of
//! it. When its rest is over it is asked in its turn again, and that is the probe.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a node rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What is known of a node's health.
#[derive(Debug, Default)]
pub(in crate::client) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Health {
    /// The node answered, whatever it said.
    pub(in crate::client) fn answered(&self) {
        *self.lock() = State::default();
    }

    /// The node was not reached, has no time, or keeps silent.
    pub(in crate::client) fn failed(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        // Calls that were under way together fail together: that is one failure.
        if state.rests_until.is_none_or(|until| until <= now) {
            let rest = FIRST_REST.saturating_mul(1 << state.failures.min(16)).min(LONGEST_REST);
            *state = State { failures: state.failures.saturating_add(1), rests_until: Some(now + rest) };
        }
    }

    /// Whether others should be asked first.
    pub(in crate::client) fn is_resting(&self) -> bool {
        self.lock().rests_until.is_some_and(|until| until > Instant::now())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rest_doubles_with_each_probe_that_fails() {
        let health = Health::default();
        let mut rests = Vec::new();
        for _ in 0..8 {
            let begun = Instant::now();
            health.failed();
            health.failed();
            while health.is_resting() {
                tokio::time::advance(Duration::from_millis(250)).await;
            }
            rests.push(begun.elapsed().as_millis());
        }
        assert_eq!(rests, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        health.failed();
        health.answered();
        assert!(!health.is_resting());
        health.failed();
        tokio::time::advance(FIRST_REST).await;
        assert!(!health.is_resting(), "an answer makes good what was before");
    }
}
