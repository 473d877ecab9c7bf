//! What the journal keeps, and what it makes of files that are not whole.

use super::*;

fn record(proposal: &str, state: TaskState) -> Arc<TaskRecord> {
    let mut record = TaskRecord::queued(Task::PrepareToDeploy, proposal, now_ms());
    record.state = state;
    Arc::new(record)
}

fn names() -> (ChannelName, ChaincodeName) {
    ("ops-channel".parse().unwrap(), "chaincode-ops".parse().unwrap())
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (channel, contract) = names();
    let journal = Journal::open(folder.path()).unwrap();
    let mut heard = journal.subscribe();
    let mut written = TaskRecord::queued(Task::Deploy, "p", 5);
    written.step_entry(crate::agent::progress::Step::Commit, None, 6).end(StepResult::Done, "block 7", 8);
    let written = Arc::new(written);
    let checkpoint = Checkpoint { block: 7, tx_id: None };
    journal
        .write(vec![Change::Task(Arc::clone(&written)), Journal::moved(&channel, &contract, checkpoint.clone())])
        .await
        .unwrap();
    assert_eq!(heard.recv().await.unwrap(), written);
    drop(journal);
    let again = Journal::open(folder.path()).unwrap();
    assert_eq!(again.tasks(), [written]);
    assert_eq!(again.checkpoint(&channel, &contract), Some(checkpoint));
    assert_eq!(again.task(Task::PrepareToDeploy, "p"), None, "the tasks of one proposal are kept apart");
}

#[tokio::test]
async fn one_agent_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = Journal::open(folder.path()).unwrap();
    assert!(matches!(Journal::open(folder.path()), Err(JournalError::Taken { .. })));
    let second = Journal::closed(folder.path());
    let refused = second.write(vec![Change::Task(record("p", TaskState::Queued))]).await;
    assert!(matches!(refused, Err(JournalError::Closed { .. })), "{refused:?}");
    first.write(vec![Change::Task(record("q", TaskState::Queued))]).await.unwrap();
    first.release().await;
    second.acquire().await.unwrap();
    assert!(second.task(Task::PrepareToDeploy, "q").is_some(), "what the other one wrote meanwhile is known");
}

#[tokio::test]
async fn those_who_come_together_are_all_served() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let writing = (0..100).map(|number| {
        let journal = journal.clone();
        async move { journal.write(vec![Change::Task(record(&format!("p{number}"), TaskState::Queued))]).await }
    });
    assert!(futures_util::future::join_all(writing).await.iter().all(Result::is_ok));
    drop(journal);
    assert_eq!(Journal::open(folder.path()).unwrap().tasks().len(), 100);
}

#[tokio::test]
async fn the_oldest_ended_tasks_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    journal.keep_ended(10);
    journal.write(vec![Change::Task(record("open", TaskState::Waiting))]).await.unwrap();
    for number in 0..50_u64 {
        let mut ended = TaskRecord::queued(Task::Deploy, format!("p{number}"), number);
        ended.state = TaskState::Done;
        journal.write(vec![Change::Task(Arc::new(ended))]).await.unwrap();
    }
    assert!(journal.tasks().len() <= 13, "{}", journal.tasks().len());
    drop(journal);
    let again = Journal::open(folder.path()).unwrap();
    assert!(again.tasks().len() <= 13);
    assert!(again.task(Task::PrepareToDeploy, "open").is_some(), "what is not done is never forgotten");
    assert!(again.task(Task::Deploy, "p49").is_some() && again.task(Task::Deploy, "p0").is_none());
}

/// Whatever is left of the file: a start, with everything or with nothing, and what was there is kept aside.
#[tokio::test]
async fn a_file_that_was_cut_or_changed_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    for number in 0..20 {
        journal.write(vec![Change::Task(record(&format!("p{number}"), TaskState::Queued))]).await.unwrap();
    }
    let path = journal.path().to_owned();
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    let mut fresh = 0;
    let cuts = (1..40).map(|part| whole.len() * part / 40).chain([1, 8, 100, 4095, 4097, whole.len() - 1]);
    for cut in cuts {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let journal = Journal::open(folder.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let left = journal.tasks().len();
        assert!(left == 0 || left == 20, "{left} of 20 after a cut at {cut}");
        fresh += usize::from(left == 0);
        journal.write(vec![Change::Task(record("new", TaskState::Queued))]).await.unwrap();
    }
    assert!(fresh > 0 && path.with_extension("redb.corrupt").exists());
    for position in (0..whole.len()).step_by(whole.len() / 60) {
        let mut changed = whole.clone();
        changed[position] ^= 0x5a;
        std::fs::write(&path, &changed).unwrap();
        let journal = Journal::open(folder.path()).unwrap_or_else(|error| panic!("changed at {position}: {error}"));
        journal.write(vec![Change::Task(record("new", TaskState::Queued))]).await.unwrap();
    }
    std::fs::write(&path, b"{\"something\":\"else\"}").unwrap();
    assert_eq!(Journal::open(folder.path()).unwrap().tasks(), []);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("taken"), "").unwrap();
    let refused = Journal::open(folder.path().join("taken").join("deeper"));
    assert!(matches!(refused, Err(JournalError::Open { .. })), "{refused:?}");
}

/// A clock that was put back would have had a task rest for as long.
#[test]
fn a_clock_that_jumps_makes_no_task_rest_longer() {
    const DAY: u64 = 24 * 3600;
    let now = now_ms();
    let mut refused = TaskRecord::queued(Task::Deploy, "p", now);
    (refused.state, refused.attempts, refused.next_try_ms) = (TaskState::Failed, 1, Some(now + 30_000));
    let rest = |later: u64| refused.rest_at(now + later * 1000).map(|rest| rest.as_secs());
    let put_back = |seconds: u64| refused.rest_at(now - seconds * 1000).map(|rest| rest.as_secs());
    assert_eq!([rest(0), rest(10), rest(31), rest(DAY)], [Some(30), Some(20), Some(0), Some(0)]);
    assert_eq!([put_back(600), put_back(DAY), put_back(3650 * DAY)], [Some(0); 3]);
    refused.state = TaskState::Waiting;
    assert_eq!(refused.rest_at(now), None);
}

/// What a task came to is written by the task itself, which had not heard that it was asked for more meanwhile: that was
/// written over, and a channel update left to nobody.
#[tokio::test]
async fn what_is_asked_for_while_a_task_runs_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let member = TaskRecord::queued(Task::UpdateChannel, "p", 1);
    let asked = TaskRecord { executor: true, ..member.clone() };
    let ended = TaskRecord { state: TaskState::Done, ..member };
    let write = |record: &TaskRecord| journal.write(vec![Change::Task(Arc::new(record.clone()))]);
    write(&asked).await.unwrap();
    let mut changes = journal.subscribe();
    write(&ended).await.unwrap();
    let known = journal.task(Task::UpdateChannel, "p").unwrap();
    assert_eq!((known.state, known.executor), (TaskState::Queued, true), "it goes on with what it was asked for");
    write(&TaskRecord { state: TaskState::Done, ..(*known).clone() }).await.unwrap();
    let known = journal.task(Task::UpdateChannel, "p").unwrap();
    assert_eq!(known.state, TaskState::Done);
    assert_eq!(changes.try_recv().unwrap().state, TaskState::Queued);
    let both = [&asked, &ended].map(|record| TaskRecord { proposal: "q".to_owned(), ..record.clone() });
    journal.write(both.map(|record| Change::Task(Arc::new(record))).to_vec()).await.unwrap();
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    let tasks = journal.tasks();
    assert!(tasks.iter().all(|task| task.executor), "{tasks:?}");
    assert_eq!(journal.task(Task::UpdateChannel, "q").unwrap().state, TaskState::Queued);
}
