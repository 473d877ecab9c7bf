//! An agent in a process of its own that dies at a chosen point of its work.
//!
//! The process is this test binary, started once more: the agent runs in it with a hook around its steps which, at the
//! point, aborts the process or holds it there until it is killed or told to go on.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opssc::agent::config::Settings;
use opssc::agent::progress::{Happening, Progress, Reporter, Step, Task};
use opssc::agent::{Agent, Hook, Moment};
use opssc::runtime::Workers;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use self::Point::{After, Before, Event};
use super::world::{World, within};

/// The variables that tell the process where to die, or where to stop and ask.
const DIES: &str = "OPSSC_TEST_DIES";
const ASKS: &str = "OPSSC_TEST_ASKS";
/// What the process says at the point.
const HERE: &str = "the agent is here";

/// Where an agent dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// When it has heard that the task is wanted.
    Event(Task),
    Before(Task, Step),
    After(Task, Step),
}

impl Point {
    fn all() -> impl Iterator<Item = Self> {
        Task::ALL.into_iter().flat_map(|task| {
            let of_steps = Step::ALL.into_iter().flat_map(move |step| [Before(task, step), After(task, step)]);
            std::iter::once(Event(task)).chain(of_steps)
        })
    }

    /// The point of that name.
    fn named(name: &str) -> Self {
        Self::all().find(|point| format!("{point:?}") == name).unwrap_or_else(|| panic!("{name} is no point"))
    }
}

/// Does something about the process at a point, once.
struct Halts {
    at: Point,
    act: fn(),
    acted: AtomicBool,
}

impl Halts {
    fn reached(&self, point: Point) {
        if self.at == point && !self.acted.swap(true, Ordering::SeqCst) {
            (self.act)();
        }
    }
}

/// The journal has a step before it is taken, and does not know yet what it came to after it.
impl Hook for Halts {
    fn at(&self, moment: Moment, task: Task, step: Step, _: &str) {
        self.reached(match moment {
            Moment::Before => Before(task, step),
            Moment::After => After(task, step),
        });
    }
}

impl Reporter for Halts {
    fn report(&self, progress: &Progress) {
        if matches!(progress.happening, Happening::EventReceived { .. }) {
            self.reached(Event(progress.task));
        }
    }
}

/// Says that the point is reached and waits for a word.
fn ask() {
    // Not by the macro, whose words the harness of the tests would keep.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{HERE}").unwrap();
    out.flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]).unwrap();
}

/// What [`World::dies`] and [`World::asks`] start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is started by the tests that kill agents"]
async fn agent_that_dies() {
    let (dies, asks) = (std::env::var(DIES), std::env::var(ASKS));
    let (at, act): (_, fn()) = match (&dies, &asks) {
        (Ok(point), _) => (point, || std::process::abort()),
        (_, Ok(point)) => (point, ask),
        _ => return,
    };
    let halts = Arc::new(Halts { at: Point::named(at), act, acted: AtomicBool::default() });
    let settings = Settings::from_lookup(|name| std::env::var_os(name)).unwrap();
    let agent = Agent::open(settings).await.unwrap();
    agent.with_reporter(Arc::clone(&halts) as _).with_hook(halts).run(Workers::new().token()).await.unwrap();
}

/// An agent on its way to its death.
pub(super) struct Doomed {
    at: Point,
    child: Child,
}

impl Doomed {
    /// Waits for the end, which must be the one that was asked for.
    pub(super) async fn end(mut self) {
        let ended = within(&format!("{:?}", self.at), self.child.wait()).await.unwrap();
        assert_eq!(ended.signal(), Some(6), "the agent was to abort itself {:?}: {ended}", self.at);
    }

    /// Waits until it asks whether to go on.
    pub(super) async fn arrives(&mut self) {
        let mut lines = BufReader::new(self.child.stdout.as_mut().expect("it is piped")).lines();
        let arrive =
            async { while lines.next_line().await.unwrap().expect("it lives while it is waited for") != HERE {} };
        within(&format!("{:?}", self.at), arrive).await;
    }

    /// Lets it go on.
    pub(super) async fn goes_on(&mut self) {
        self.child.stdin.as_mut().expect("it is piped").write_all(b"\n").await.unwrap();
    }

    /// SIGKILL.
    pub(super) async fn kill(mut self) {
        within("the end", self.child.kill()).await.unwrap();
    }
}

impl World {
    /// Starts an agent that dies at a point.
    pub(super) fn dies(&self, member: usize, settings: &[(&'static str, &str)], at: Point) -> Doomed {
        self.doomed(member, settings, at, DIES)
    }

    /// Starts an agent that stops at a point and asks.
    pub(super) fn asks(&self, member: usize, settings: &[(&'static str, &str)], at: Point) -> Doomed {
        self.doomed(member, settings, at, ASKS)
    }

    fn doomed(&self, member: usize, settings: &[(&'static str, &str)], at: Point, how: &str) -> Doomed {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "agent::doomed::agent_that_dies", "--ignored"])
            .env_clear()
            .envs(self.environment(member, settings))
            .env(how, OsString::from(format!("{at:?}")))
            .stdin(Stdio::piped())
            .stdout(if how == ASKS { Stdio::piped() } else { Stdio::null() })
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Doomed { at, child }
    }
}
