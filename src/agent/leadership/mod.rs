//! Which of an organization's replicas acts.
//!
//! A module of its own because the rest of the agent asks only whether it leads. A replica that runs alone always does.
//! Several share a record, in a file on shared storage or in a Lease of Kubernetes, which the one that leads renews;
//! another takes over when the record has not changed for the length of its lease, 10 seconds unless it is set.
//!
//! Does not promise that never two of them lead: clocks stop and disks hang. That does no harm, since every step asks
//! the ledger first and may be done twice.

mod election;
mod file;
#[cfg(feature = "kubernetes")]
mod lease;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::config::Replicas;
use super::text;
use crate::runtime::CancellationToken;

use self::election::{Election, Move, Record};
use self::file::LockFile;

/// Who leads, as one replica sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether this replica does.
    pub leads: bool,
    /// The name of the one that does, where it is known.
    pub holder: Option<String>,
    /// Why the record cannot be read or written at present.
    pub trouble: Option<String>,
}

/// Where the record is.
#[derive(Debug)]
enum Place {
    /// There are no other replicas.
    Alone,
    LockFile(LockFile),
    #[cfg(feature = "kubernetes")]
    Lease(Box<lease::LeaseRecord>),
}

impl Place {
    fn of(replicas: &Replicas) -> Self {
        #[cfg(feature = "kubernetes")]
        if let Some(lease) = &replicas.lease {
            return Self::Lease(Box::new(lease::LeaseRecord::new(lease.clone())));
        }
        match &replicas.lock_file {
            None => Self::Alone,
            Some(path) => Self::LockFile(LockFile::new(path.clone())),
        }
    }

    /// Whether a write that succeeds has found the record as it was read.
    fn is_exclusive(&self) -> bool {
        !matches!(self, Self::LockFile(_))
    }

    async fn read(&mut self) -> io::Result<Option<Record>> {
        match self {
            Self::Alone => Ok(None),
            Self::LockFile(file) => file.read().await,
            #[cfg(feature = "kubernetes")]
            Self::Lease(lease) => lease.read().await,
        }
    }

    /// Writes the record; `None` when it has changed since it was read.
    async fn write(&mut self, holder: &str, lease: Duration) -> io::Result<Option<Record>> {
        match self {
            Self::Alone => Ok(None),
            Self::LockFile(file) => file.write(holder, lease).await.map(Some),
            #[cfg(feature = "kubernetes")]
            Self::Lease(record) => record.write(holder, lease).await,
        }
    }
}

/// Decides whether this replica leads.
#[derive(Debug)]
pub struct Leadership {
    me: String,
    lease: Duration,
    place: Place,
    leads: watch::Sender<bool>,
    standing: watch::Sender<Standing>,
}

impl Leadership {
    /// As the settings say. Reads and writes nothing yet.
    pub fn new(replicas: &Replicas) -> Self {
        let place = Place::of(replicas);
        let me = unique(&replicas.identity);
        let is_alone = matches!(place, Place::Alone);
        let standing = Standing { leads: is_alone, holder: is_alone.then(|| me.clone()), trouble: None };
        Self {
            me,
            lease: replicas.lease_time,
            place,
            leads: watch::Sender::new(is_alone),
            standing: watch::Sender::new(standing),
        }
    }

    /// The name by which the others know this replica.
    pub fn identity(&self) -> &str {
        &self.me
    }

    /// Whether this replica leads, and a word whenever that changes.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Who leads, for people.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Takes part until `release`, then gives the record up, so that another need not wait for the lease to end. Whoever
    /// leads cancels `release` once it has stopped acting.
    ///
    /// # Errors
    /// None: whatever is wrong with the record is a reason not to lead, and may pass.
    ///
    /// # Cancel safety
    /// Dropping it keeps the record until its lease ends.
    pub async fn keep(self, release: CancellationToken) -> Result<(), Infallible> {
        let Self { me, lease, place: mut record, leads, standing } = self;
        if matches!(record, Place::Alone) {
            release.cancelled().await;
            return Ok(());
        }
        let mut election = Election::new(me.clone(), lease, record.is_exclusive());
        let mut ticks = tokio::time::interval(election.period());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = release.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let patience = election.patience(Instant::now());
            let done = tokio::time::timeout(patience, step(&mut election, &mut record, &me, lease));
            let done = done.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let trouble = done.err().map(|error| text::bounded(&error.to_string(), text::ERROR_LIMIT));
            tell(&election, trouble, &leads, &standing);
        }
        if election.leads(Instant::now()) {
            // Should it fail, the lease ends by itself.
            let given_up = tokio::time::timeout(lease / 5, record.write("", lease)).await;
            tracing::info!(released = matches!(given_up, Ok(Ok(Some(_)))), "leadership given up");
        }
        leads.send_replace(false);
        Ok(())
    }
}

/// Looks at the record and does what follows from it.
async fn step(election: &mut Election, record: &mut Place, me: &str, lease: Duration) -> io::Result<()> {
    let asked = Instant::now();
    let read: Option<Record> = record.read().await?;
    let next = election.read(read, asked);
    if next != Move::Wait {
        let begun = Instant::now();
        if let Some(written) = record.write(me, lease).await? {
            election.wrote(next, written, begun);
        }
    }
    Ok(())
}

fn tell(election: &Election, trouble: Option<String>, leads: &watch::Sender<bool>, standing: &watch::Sender<Standing>) {
    let now = Standing {
        leads: election.leads(Instant::now()),
        holder: election.holder().map(|holder| text::bounded(holder, 255)),
        trouble,
    };
    standing.send_if_modified(|known| {
        if *known == now {
            return false;
        }
        let holder = now.holder.as_deref().unwrap_or_default();
        if known.leads != now.leads {
            tracing::info!(leads = now.leads, holder, "leadership changed");
        }
        if known.trouble != now.trouble
            && let Some(error) = &now.trouble
        {
            tracing::warn!(error, "the record of who leads cannot be used");
        }
        known.clone_from(&now);
        true
    });
    leads.send_if_modified(|known| std::mem::replace(known, now.leads) != now.leads);
}

/// `name`, and something that no other start of a replica has.
fn unique(name: &str) -> String {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 4];
    // Without randomness the process is told apart by its number, which is enough on one machine.
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        bytes = std::process::id().to_be_bytes();
    }
    format!("{name}_{:08x}", u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
