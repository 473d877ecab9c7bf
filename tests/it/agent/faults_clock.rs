//! A host whose clock jumps.
//!
//! What an agent signs has the time of this machine nevertheless: that nodes refuse what is signed for another time is
//! another test's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use opssc::agent::journal::{StepResult, TaskRecord};
use opssc::agent::progress::{Happening, Step, Task};
use opssc::agent::{Hook, Moment};
use opssc::devnet::Faults;
use opssc::opssc::chaincode_ops::Status;
use opssc::runtime::CancellationToken;
use tonic::Code;

use super::world::{Running, World, proposal, within};

const FAR: Duration = Duration::from_hours(5);

/// Jumps ahead, back to before what is so, and right again, with each step that is taken. The first approval finds the
/// own peer away.
struct Jumps {
    steps: AtomicI64,
    peer: Faults,
    approves: AtomicBool,
}

impl Hook for Jumps {
    fn at(&self, moment: Moment, _: Task, step: Step, _: &str) {
        self.steps.fetch_add(1, Ordering::SeqCst);
        if (moment, step) == (Moment::Before, Step::Approve) && !self.approves.swap(true, Ordering::SeqCst) {
            self.peer.fail_next(u32::MAX, Code::Unavailable);
        }
    }

    fn now(&self) -> SystemTime {
        match self.steps.load(Ordering::SeqCst) % 3 {
            0 => SystemTime::now(),
            1 => SystemTime::now() + FAR,
            _ => SystemTime::now() - FAR,
        }
    }
}

fn ms(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Running {
    /// Waits until nothing is under way, by what is remembered.
    async fn until_idle(&self) -> Vec<Arc<TaskRecord>> {
        let mut changes = self.journal.subscribe();
        let idle = async {
            loop {
                let tasks = self.journal.tasks();
                if tasks.iter().all(|task| !task.state.is_open()) {
                    return tasks;
                }
                changes.recv().await.unwrap();
            }
        };
        within("the last task", idle).await
    }
}

/// Before and after each step, and each time that an approval is tried while the own peer is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_clock_jumps_does_everything_once_and_hangs_nowhere() {
    let earliest = ms(SystemTime::now() - FAR);
    let world = World::start().await;
    let peer = || world.network.faults("peer0.org1").unwrap();
    let jumps = Arc::new(Jumps { steps: AtomicI64::default(), peer: peer(), approves: AtomicBool::default() });
    let mut first = world.agent_hooked(0, &[], jumps, CancellationToken::new()).await;
    let second = world.agent(1).await;
    within("listening", first.health.until(true)).await;
    world.propose(&proposal("waits", "one", 1)).await;
    for _ in 0..2 {
        first.until("waiting", |said| matches!(said.happening, Happening::Waiting { step: Step::Approve, .. })).await;
    }
    peer().clear();
    world.until("waits", Status::Committed).await;
    world.propose(&proposal("flows", "two", 1)).await;
    world.until("flows", Status::Committed).await;
    let tasks = first.until_idle().await;
    assert!(tasks.len() >= 2, "{tasks:?}");
    first.stop().await;
    // What was written by a clock that was wrong is read by one that is right.
    let first = world.agent(0).await;
    world.propose(&proposal("again", "three", 1)).await;
    world.until("again", Status::Committed).await;
    let tasks = first.until_idle().await;
    first.stop().await;
    second.stop().await;
    for (id, chaincode) in [("waits", "one"), ("flows", "two"), ("again", "three")] {
        world.assert_done_once(id, chaincode).await;
    }
    // All times are those of one of the clocks, and nothing is to be tried again.
    let times = earliest..=ms(SystemTime::now() + FAR);
    for task in tasks {
        assert!(task.next_try_ms.is_none() && times.contains(&task.created_ms), "{task:?}");
        for step in &task.steps {
            let ended = step.ended_ms.expect("it ended");
            assert!(times.contains(&step.began_ms) && times.contains(&ended), "{task:?}");
            assert_ne!(step.result, StepResult::Running, "{task:?}");
        }
    }
}
