//! `opssc-agent proposal …`: request, vote, withdraw, look at and follow proposals. Here are those to deploy a chaincode.

mod channel;
mod request;
mod show;
mod watch;

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use self::channel::ChannelCommand;
use self::request::Request;
use super::failure::{Exit, OutcomeUnknown};
use super::logging;
use super::output;
use super::settings::SettingFlags;
use crate::agent;
use crate::agent::config::Settings;
use crate::agent::text;
use crate::client::{Channel, Client};
use crate::opssc::calls::ChaincodeOps;
use crate::opssc::chaincode_ops::{History, HistoryQuery, Proposal, Status, TaskStatus, TaskStatusUpdate};

/// What kind of proposal.
#[derive(Debug, Subcommand)]
pub(super) enum ProposalCommand {
    /// Proposals to deploy a chaincode
    #[command(subcommand)]
    Chaincode(ChaincodeCommand),
    /// Proposals to change or make a channel
    #[command(subcommand)]
    Channel(ChannelCommand),
}

/// What to do with proposals to deploy a chaincode.
#[derive(Debug, Subcommand)]
pub(super) enum ChaincodeCommand {
    /// Propose to deploy a chaincode; counts as a vote for it
    Request(Box<Request>),
    /// Vote for a proposal, or against it
    Vote(Vote),
    /// Take an own proposal back while it is voted on
    Withdraw(One),
    /// Show one proposal and what the organizations have done about it
    Show(One),
    /// List all proposals
    List(List),
    /// Show what the organizations have done about one proposal
    History(One),
    /// Follow a proposal until it ends: exit code 0 committed, 1 rejected, withdrawn or failed, 2 unknown
    Watch(Watch),
}

/// One proposal.
#[derive(Debug, Args)]
pub(super) struct One {
    /// The proposal's ID
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// A vote.
#[derive(Debug, Args)]
pub(super) struct Vote {
    /// The proposal's ID
    id: String,
    /// Vote against it
    #[arg(long)]
    disagree: bool,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Which proposals to list.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those with this status
    #[arg(long)]
    status: Option<String>,
    /// Only those for this channel
    #[arg(long)]
    channel: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// What to follow.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The proposal's ID
    id: String,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// Whether to follow the proposal afterwards.
#[derive(Debug, Clone, Args)]
pub(super) struct Follow {
    /// Follow the proposal until it ends, as `watch` does
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after this many seconds
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
}

/// The ops channel, seen by one organization.
struct Session {
    settings: Settings,
    client: Client,
    channel: Channel,
    ledger: ChaincodeOps,
}

impl Session {
    fn open(flags: &SettingFlags, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        let settings = flags.settings_of_command(environment)?;
        logging::start(settings.log_level, settings.log_format);
        let client = agent::connect(&settings)?;
        let channel = client.channel(settings.ops_channel.clone());
        let ledger = ChaincodeOps::new(channel.clone(), settings.chaincode_ops.clone());
        Ok(Self { settings, client, channel, ledger })
    }

    async fn proposal(&self, id: &str) -> anyhow::Result<Proposal> {
        self.ledger.get_proposal(id).await.with_context(|| format!("cannot read proposal {}", text::bounded(id, 80)))
    }

    /// What the organizations have done about a proposal, the oldest first.
    async fn histories(&self, id: &str) -> anyhow::Result<Vec<History>> {
        let query = HistoryQuery { proposal_id: id.to_owned(), ..HistoryQuery::default() };
        let histories = self
            .ledger
            .get_histories(&query)
            .await
            .with_context(|| format!("cannot read the histories of proposal {}", text::bounded(id, 80)))?;
        // The contract finds histories by the beginning of their keys.
        let mut histories: Vec<History> = histories.into_values().filter(|history| history.proposal_id == id).collect();
        histories.sort_by(|one, other| (&one.time, &one.org_id).cmp(&(&other.time, &other.org_id)));
        Ok(histories)
    }
}

/// Follows the proposal by `watching` it. Ends with that, or with `timeout`, or with SIGINT.
async fn followed(
    id: &str,
    timeout: Option<Duration>,
    watching: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    let shown = text::bounded(id, 80);
    let limit = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = watching => result,
        () = limit => Err(OutcomeUnknown(format!("proposal {shown} has not ended within the given time")).into()),
        result = tokio::signal::ctrl_c() => {
            result.context("cannot listen to signals")?;
            Err(OutcomeUnknown(format!("no longer watching: proposal {shown} goes on")).into())
        }
    }
}

/// Carries out one of these commands.
pub(super) fn run(command: ProposalCommand, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let command = match command {
            ProposalCommand::Channel(command) => return channel::run(command, environment).await,
            ProposalCommand::Chaincode(command) => command,
        };
        match command {
            ChaincodeCommand::Request(request) => request::run(*request, environment).await,
            ChaincodeCommand::Vote(vote) => cast(&vote, environment).await,
            ChaincodeCommand::Withdraw(one) => withdraw(&one, environment).await,
            ChaincodeCommand::Show(one) => show(&one, environment).await,
            ChaincodeCommand::List(list) => show_all(&list, environment).await,
            ChaincodeCommand::History(one) => history(&one, environment).await,
            ChaincodeCommand::Watch(watch) => {
                let session = Session::open(&watch.flags, environment)?;
                watch::follow(&session, &watch.id, watch.timeout.map(Duration::from_secs), watch.json).await
            }
        }
    })
}

async fn cast(vote: &Vote, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&vote.flags, environment)?;
    let status = if vote.disagree { TaskStatus::Disagreed } else { TaskStatus::Agreed };
    let shown = text::bounded(&vote.id, 80);
    let update = TaskStatusUpdate::new(vote.id.as_str(), status.clone());
    let committed =
        session.ledger.vote(&update).await.with_context(|| format!("the vote on {shown} was not counted"))?;
    output::say(&format!("{} {status} to {shown} (block {})", session.settings.msp_id, committed.block));
    after(&session, &vote.id, &vote.follow).await
}

async fn withdraw(one: &One, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&one.flags, environment)?;
    let shown = text::bounded(&one.id, 80);
    let committed = session
        .ledger
        .withdraw_proposal(&one.id)
        .await
        .with_context(|| format!("proposal {shown} was not withdrawn"))?;
    if one.json {
        output::put_json(&session.proposal(&one.id).await?)?;
    }
    output::say(&format!("{} withdrew {shown} (block {})", session.settings.msp_id, committed.block));
    Ok(Exit::Done)
}

async fn show(one: &One, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&one.flags, environment)?;
    let proposal = session.proposal(&one.id).await?;
    if one.json {
        output::put_json(&proposal)?;
        return Ok(Exit::Done);
    }
    let histories = session.histories(&one.id).await?;
    output::put(&show::proposal(&proposal))?;
    if !histories.is_empty() {
        output::put(&format!("\n{}", show::histories(&histories)))?;
    }
    Ok(Exit::Done)
}

async fn show_all(list: &List, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&list.flags, environment)?;
    let proposals = session.ledger.get_all_proposals().await.context("cannot list the proposals")?;
    let status = list.status.as_deref().map(Status::from);
    let mut proposals: Vec<Proposal> = proposals
        .into_values()
        .filter(|proposal| status.as_ref().is_none_or(|status| proposal.status == *status))
        .filter(|proposal| list.channel.as_ref().is_none_or(|channel| proposal.channel_id == *channel))
        .collect();
    proposals.sort_by(|one, other| (&one.time, &one.id).cmp(&(&other.time, &other.id)));
    if list.json {
        output::put_json(&proposals)?;
    } else if proposals.is_empty() {
        output::say("there are no such proposals");
    } else {
        output::put(&show::proposals(&proposals))?;
    }
    Ok(Exit::Done)
}

async fn history(one: &One, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&one.flags, environment)?;
    let histories = session.histories(&one.id).await?;
    if one.json {
        output::put_json(&histories)?;
    } else if histories.is_empty() {
        // Tell a proposal about which nobody has done anything from one that does not exist.
        session.proposal(&one.id).await?;
        output::say("no organization has done anything about it yet");
    } else {
        output::put(&show::histories(&histories))?;
    }
    Ok(Exit::Done)
}

/// Follows the proposal, or says how to.
async fn after(session: &Session, id: &str, follow: &Follow) -> anyhow::Result<Exit> {
    if follow.wait {
        return watch::follow(session, id, follow.timeout.map(Duration::from_secs), false).await;
    }
    output::say(&format!("follow it with: opssc-agent proposal chaincode watch {}", text::bounded(id, 200)));
    Ok(Exit::Done)
}
