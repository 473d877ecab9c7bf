//! Replicas that share a file, on paused time.

use std::path::Path;

use super::*;
use crate::runtime::Workers;

struct Replica {
    leads: watch::Receiver<bool>,
    standing: watch::Receiver<Standing>,
    workers: Workers,
}

impl Replica {
    fn start(name: &str, path: Option<&Path>) -> Self {
        let leadership = Leadership::new(&Replicas {
            lock_file: path.map(Into::into),
            lease: None,
            identity: name.to_owned(),
            lease_time: Duration::from_secs(10),
        });
        let (leads, standing, workers) = (leadership.leads(), leadership.standing(), Workers::new());
        workers.spawn_to_end("leadership", leadership.keep(workers.token()));
        Self { leads, standing, workers }
    }

    async fn until(&mut self, leads: bool) {
        self.leads.wait_for(|now| *now == leads).await.unwrap();
    }

    async fn stop(self) {
        self.workers.cancel();
        self.workers.finished().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn alone_it_leads_at_once() {
    let replica = Replica::start("a", None);
    assert!(*replica.leads.borrow() && replica.standing.borrow().leads);
    replica.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_at_once_from_one_that_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leader");
    let mut first = Replica::start("a", Some(&path));
    first.until(true).await;
    let mut second = Replica::start("b", Some(&path));
    second.standing.wait_for(|now| now.holder.as_deref().is_some_and(|name| name.starts_with("a_"))).await.unwrap();
    assert!(!*second.leads.borrow());
    let before = Instant::now();
    first.stop().await;
    second.until(true).await;
    assert!(before.elapsed() <= Duration::from_secs(3), "{:?}", before.elapsed());
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_within_15_seconds_from_one_that_died() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leader");
    // What is left of a replica that was killed.
    LockFile::new(path.clone()).write("dead", Duration::from_secs(10)).await.unwrap();
    let before = Instant::now();
    let mut second = Replica::start("b", Some(&path));
    second.until(true).await;
    let taken = before.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(15)).contains(&taken), "{taken:?}");
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_several_that_start_together_one_leads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leader");
    let replicas: Vec<_> = ["a", "b", "c"].map(|name| Replica::start(name, Some(&path))).into();
    // On paused time: everybody has looked at the record many times.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let leading = replicas.iter().filter(|replica| *replica.leads.borrow()).count();
    assert_eq!(leading, 1);
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_reach_the_record_stops_leading_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let mut replica = Replica::start("a", Some(&shared.join("leader")));
    replica.until(true).await;
    // The file can neither be read nor replaced.
    std::fs::remove_file(shared.join("leader")).unwrap();
    std::fs::create_dir(shared.join("leader")).unwrap();
    let before = Instant::now();
    replica.until(false).await;
    assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
    assert!(replica.standing.borrow().trouble.is_some());
    std::fs::remove_dir(shared.join("leader")).unwrap();
    replica.until(true).await;
    replica.stop().await;
}
