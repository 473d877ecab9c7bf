//! When a block is cut: by count, by bytes, and (in [`chain`](super::chain)) by time.
//!
//! A module of its own because it is the one part of ordering that is a rule and not a transport. It keeps no time.
//!
//! Source: Fabric 3.1.5 `orderer/common/blockcutter`.

use bytes::Bytes;

use crate::fabric::config::BatchLimits;

/// Envelopes that wait for a block.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    pending: Vec<Bytes>,
    pending_bytes: usize,
}

impl Cutter {
    /// Takes the next envelope (and the size by which it counts) and returns the batches that are now full.
    pub(crate) fn ordered(&mut self, envelope: Bytes, size: usize, limits: &BatchLimits) -> Vec<Vec<Bytes>> {
        let preferred = limits.preferred_max_bytes as usize;
        let mut batches = Vec::new();
        if size > preferred {
            // Too large to share a block.
            batches.extend(self.cut());
            batches.push(vec![envelope]);
            return batches;
        }
        if self.pending_bytes.saturating_add(size) > preferred {
            batches.extend(self.cut());
        }
        self.pending.push(envelope);
        self.pending_bytes += size;
        if self.pending.len() >= limits.max_messages as usize {
            batches.extend(self.cut());
        }
        batches
    }

    /// What waits now, if anything does.
    pub(crate) fn cut(&mut self) -> Option<Vec<Bytes>> {
        self.pending_bytes = 0;
        let batch = std::mem::take(&mut self.pending);
        (!batch.is_empty()).then_some(batch)
    }

    /// Whether anything waits.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_by_count_and_bytes() {
        let limits = BatchLimits {
            max_messages: 3,
            absolute_max_bytes: 100,
            preferred_max_bytes: 10,
            timeout: std::time::Duration::from_secs(1),
        };
        // Sizes of the envelopes that arrive, and the sizes of the batches that come of it; the rest waits.
        for (sizes, batches, waiting) in [
            (vec![1, 1], vec![], 2),
            (vec![1, 1, 1], vec![vec![1, 1, 1]], 0),
            (vec![1, 1, 1, 1], vec![vec![1, 1, 1]], 1),
            (vec![6, 6], vec![vec![6]], 1),
            (vec![5, 5], vec![], 2),
            (vec![11], vec![vec![11]], 0),
            (vec![2, 11, 3], vec![vec![2], vec![11]], 1),
            (vec![0, 0, 0], vec![vec![0, 0, 0]], 0),
        ] {
            let mut cutter = Cutter::default();
            let mut cut: Vec<Vec<usize>> = Vec::new();
            for size in &sizes {
                let full = cutter.ordered(Bytes::from(vec![0; *size]), *size, &limits);
                cut.extend(full.iter().map(|batch| batch.iter().map(Bytes::len).collect()));
            }
            assert_eq!(cut, batches, "for {sizes:?}");
            assert_eq!(cutter.is_pending(), waiting > 0, "for {sizes:?}");
            assert_eq!(cutter.cut().map_or(0, |batch| batch.len()), waiting, "for {sizes:?}");
        }
    }
}
