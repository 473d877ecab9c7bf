//! Whether the agent does what it is there for.
//!
//! A module of its own because those who know write it in many places, and the HTTP service only reads it. Healthy means
//! that the events of both contracts are listened to, or that another replica does so, and that nothing keeps the agent
//! from acting: without its events it is deaf, however well its process lives.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// Whether the agent listens to its two contracts, and what troubles it.
#[derive(Debug)]
pub struct Health {
    state: watch::Sender<State>,
}

/// One of the two contracts that the agent listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The contract of chaincode proposals.
    ChaincodeOps,
    /// The contract of channel proposals.
    ChannelOps,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    listening: [bool; 2],
    stands_by: bool,
    troubles: BTreeMap<&'static str, String>,
}

impl State {
    fn is_good(&self) -> bool {
        (self.stands_by || self.listening == [true; 2]) && self.troubles.is_empty()
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { state: watch::Sender::new(State::default()) }
    }
}

impl Health {
    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }

    /// Notes whether the events of one contract are being listened to.
    pub fn set(&self, listener: Listener, listening: bool) {
        let index = match listener {
            Listener::ChaincodeOps => 0,
            Listener::ChannelOps => 1,
        };
        self.change(|state| state.listening[index] = listening);
    }

    /// Notes whether another replica acts in the place of this one.
    pub fn set_standby(&self, stands_by: bool) {
        self.change(|state| state.stands_by = stands_by);
    }

    /// Notes what keeps a `part` of the agent from working, or that nothing does any more.
    pub fn set_trouble(&self, part: &'static str, reason: Option<String>) {
        self.change(|state| {
            match reason {
                Some(reason) => state.troubles.insert(part, reason),
                None => state.troubles.remove(part),
            };
        });
    }

    /// Whether the agent can be relied on.
    pub fn is_good(&self) -> bool {
        self.state.borrow().is_good()
    }

    /// Whether the events of one contract are being listened to.
    pub fn listens_to(&self, listener: Listener) -> bool {
        self.state.borrow().listening[usize::from(listener == Listener::ChannelOps)]
    }

    /// Whether another replica acts in the place of this one.
    pub fn stands_by(&self) -> bool {
        self.state.borrow().stands_by
    }

    /// What keeps parts of the agent from working.
    pub fn troubles(&self) -> BTreeMap<&'static str, String> {
        self.state.borrow().troubles.clone()
    }

    /// Waits until [`is_good`](Self::is_good) is `good`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn until(&self, good: bool) {
        // It fails only when the sender is gone, which is borrowed here.
        let _ = self.state.subscribe().wait_for(|state| state.is_good() == good).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaf_or_troubled_is_not_good() {
        let health = Health::default();
        assert!(!health.is_good());
        health.set(Listener::ChaincodeOps, true);
        assert!(!health.is_good() && health.listens_to(Listener::ChaincodeOps));
        health.set(Listener::ChannelOps, true);
        assert!(health.is_good());
        health.set_trouble("journal", Some("the disk is full".to_owned()));
        assert!(!health.is_good());
        assert_eq!(health.troubles()["journal"], "the disk is full");
        health.set_trouble("journal", None);
        assert!(health.is_good());
    }

    #[test]
    fn a_replica_that_stands_by_is_good_while_it_hears_nothing() {
        let health = Health::default();
        health.set_standby(true);
        assert!(health.is_good());
        health.set_standby(false);
        assert!(!health.is_good());
    }
}
