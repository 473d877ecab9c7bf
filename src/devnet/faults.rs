//! What is wrong with a node on purpose: the switches by which tests and people disturb the network.
//!
//! A module of its own because every part of a node asks it, and it asks none: the listener whether to answer at all,
//! an endorser whether to differ, whoever makes or takes a block how long to wait, and everybody what time it is.
//!
//! Does not stop nodes: a node that is away has no switches to look at.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tonic::Code;

/// The switches of one node. Clones are the same switches; what is set stays so when the node stops and starts.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Switches>);

#[derive(Debug)]
struct Switches {
    counted: Mutex<Counted>,
    delay: watch::Sender<Duration>,
    block_delay: watch::Sender<Duration>,
    hangs: watch::Sender<bool>,
    clock: AtomicI64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            counted: Mutex::default(),
            delay: watch::Sender::new(Duration::ZERO),
            block_delay: watch::Sender::new(Duration::ZERO),
            hangs: watch::Sender::new(false),
            clock: AtomicI64::new(0),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Counted {
    failures: u32,
    code: Option<Code>,
    garbage: u32,
    cuts: u32,
    diverging: u32,
}

impl Faults {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every call waits for so long before it is looked at. Zero ends it.
    pub fn delay(&self, delay: Duration) {
        self.0.delay.send_replace(delay);
    }

    /// While `on`, nothing is answered: neither calls nor streams that run already. Connections stay open.
    pub fn hang(&self, on: bool) {
        self.0.hangs.send_replace(on);
    }

    /// The next `count` calls end with `code`.
    pub fn fail_next(&self, count: u32, code: Code) {
        let mut counted = self.counted();
        (counted.failures, counted.code) = (count, Some(code));
    }

    /// The next `count` messages of the node are no messages: their bytes are rubbish.
    pub fn garbage_next(&self, count: u32) {
        self.counted().garbage = count;
    }

    /// The next `count` messages of the node are sent by half, and their streams break.
    pub fn cut_next(&self, count: u32) {
        self.counted().cuts = count;
    }

    /// The next `count` endorsements of the node (a peer) differ from everybody else's, under a good signature.
    pub fn diverge_next(&self, count: u32) {
        self.counted().diverging = count;
    }

    /// The node is slow with every block: a peer takes it, an orderer makes it, so much later. Zero ends it.
    pub fn slow_blocks(&self, delay: Duration) {
        self.0.block_delay.send_replace(delay);
    }

    /// The node's clock goes wrong by so many milliseconds; those below zero are the past.
    pub fn clock(&self, offset_ms: i64) {
        self.0.clock.store(offset_ms, Ordering::Relaxed);
    }

    /// Nothing is wrong any more.
    pub fn clear(&self) {
        *self.counted() = Counted::default();
        self.delay(Duration::ZERO);
        self.slow_blocks(Duration::ZERO);
        self.hang(false);
        self.clock(0);
    }

    /// What time the node believes it is.
    pub(crate) fn now(&self) -> SystemTime {
        let offset = self.0.clock.load(Ordering::Relaxed);
        let (now, by) = (SystemTime::now(), Duration::from_millis(offset.unsigned_abs()));
        let wrong = if offset < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        wrong.unwrap_or(now)
    }

    /// Waits for as long as a call has to, and while the node hangs.
    pub(super) async fn before_call(&self) {
        wait(&self.0.delay).await;
        self.awake().await;
    }

    /// Waits while the node hangs.
    pub(super) async fn awake(&self) {
        // The sender lives as long as this does, so the wait ends with the fault.
        let _ = self.0.hangs.subscribe().wait_for(|hangs| !hangs).await;
    }

    /// Waits for as long as a block has to.
    pub(super) async fn before_block(&self) {
        wait(&self.0.block_delay).await;
    }

    /// The code with which this call is to end.
    pub(super) fn take_failure(&self) -> Option<Code> {
        let mut counted = self.counted();
        take(&mut counted.failures).then_some(counted.code).flatten()
    }

    /// Whether this message is to be rubbish.
    pub(super) fn take_garbage(&self) -> bool {
        take(&mut self.counted().garbage)
    }

    /// Whether this message is to be cut.
    pub(super) fn take_cut(&self) -> bool {
        take(&mut self.counted().cuts)
    }

    /// Whether this endorsement is to differ.
    pub(crate) fn take_divergence(&self) -> bool {
        take(&mut self.counted().diverging)
    }
}

/// Waits for as long as the switch says. Who changes it meanwhile changes this wait too.
async fn wait(switch: &watch::Sender<Duration>) {
    let since = tokio::time::Instant::now();
    let mut changed = switch.subscribe();
    loop {
        let delay = *changed.borrow_and_update();
        let Some(left) = delay.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else { return };
        tokio::select! {
            () = tokio::time::sleep(left) => return,
            // The sender lives as long as this does.
            _ = changed.changed() => {}
        }
    }
}

fn take(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_faults_run_out() {
        let faults = Faults::default();
        faults.fail_next(2, Code::Unavailable);
        let seen: Vec<_> = (0..3).map(|_| faults.take_failure()).collect();
        assert_eq!(seen, [Some(Code::Unavailable), Some(Code::Unavailable), None]);
        faults.cut_next(1);
        faults.clear();
        assert!(!faults.take_cut());
    }

    #[test]
    fn the_clock_goes_wrong_both_ways() {
        let faults = Faults::default();
        let hour = Duration::from_hours(1);
        faults.clock(3_600_000);
        assert!(faults.now() > SystemTime::now() + hour / 2);
        faults.clock(-3_600_000);
        assert!(faults.now() < SystemTime::now() - hour / 2);
        faults.clock(i64::MIN);
        assert!(faults.now() <= SystemTime::now(), "a time that cannot be told is no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hangs_goes_on_when_it_is_let() {
        let faults = Faults::default();
        faults.hang(true);
        let (waiting, switch) = (faults.clone(), faults.clone());
        let waited = tokio::time::timeout(Duration::from_hours(1), waiting.before_call());
        assert!(waited.await.is_err());
        switch.hang(false);
        faults.before_call().await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_let_go_when_the_fault_ends() {
        let faults = Faults::default();
        faults.slow_blocks(Duration::from_hours(1));
        let begun = tokio::time::Instant::now();
        let ending = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            faults.clear();
        };
        tokio::join!(faults.before_block(), ending);
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }
}
