//! How far the checkpoint may move while events are worked on side by side.
//!
//! Pure. Events are begun in the order in which they come and finished in any; the checkpoint may stand only where
//! everything before it is finished, so that a restart loses nothing. A stuck event holds the checkpoint back and
//! nothing else.

use std::collections::VecDeque;

/// Stands for one event that was begun.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an event that is never finished holds the checkpoint back"]
pub struct Ticket(u64);

/// The events that were begun, from the oldest unfinished one on.
#[derive(Debug)]
pub struct LowWater<P> {
    first: u64,
    entries: VecDeque<(P, bool)>,
}

impl<P> Default for LowWater<P> {
    fn default() -> Self {
        Self { first: 0, entries: VecDeque::new() }
    }
}

impl<P> LowWater<P> {
    /// Notes that work on the event at `position` begins.
    pub fn begin(&mut self, position: P) -> Ticket {
        self.entries.push_back((position, false));
        Ticket(self.first + self.entries.len() as u64 - 1)
    }

    /// Notes that the work is done. Answers with the position up to which everything is finished now, if that moved.
    #[expect(clippy::needless_pass_by_value, reason = "an event is finished once")]
    pub fn finish(&mut self, ticket: Ticket) -> Option<P> {
        if let Some(entry) = usize::try_from(ticket.0 - self.first).ok().and_then(|at| self.entries.get_mut(at)) {
            entry.1 = true;
        }
        let mut reached = None;
        while self.entries.front().is_some_and(|(_, finished)| *finished) {
            reached = self.entries.pop_front().map(|(position, _)| position);
            self.first += 1;
        }
        reached
    }

    /// How many events are unfinished or wait for an older one.
    pub fn waiting(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_over_finished_events() {
        let mut water = LowWater::default();
        let (first, second, third) = (water.begin(1), water.begin(2), water.begin(3));
        assert_eq!(water.finish(second), None);
        assert_eq!(water.finish(first), Some(2));
        let fourth = water.begin(4);
        assert_eq!(water.finish(fourth), None);
        assert_eq!(water.waiting(), 2);
        assert_eq!(water.finish(third), Some(4));
        assert_eq!(water.waiting(), 0);
    }
}
