//! `opssc-agent proposal channel …`: request, sign, look at and follow proposals to change or make a channel.

mod compute;
mod difference;
mod inline;
mod request;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand};
use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::time::Instant;

use self::request::{Rebase, Request};
use super::super::failure::{Exit, UsageError};
use super::super::logging;
use super::super::output;
use super::super::settings::SettingFlags;
use super::{List, One, Watch, followed};
use crate::agent;
use crate::agent::text;
use crate::client::events::Start;
use crate::client::{Channel, Client};
use crate::opssc::calls::ChannelOps;
use crate::opssc::channel_ops::{Proposal, Status};
use crate::runtime::retry::Backoff;

/// How often to look even though no block came: the peer that was asked may have been behind the one that told.
const AGAIN: Duration = Duration::from_secs(2);

/// How far a peer may be behind the one that told of a proposal.
const BEHIND: Duration = Duration::from_secs(3);

/// What to do with proposals to change or make a channel.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ChannelCommand {
    /// Propose to change a channel, or to make one; counts as a vote for it
    Request(Box<Request>),
    /// Show what a proposal changes, sign it, and vote for it
    Vote(Vote),
    /// Show one proposal, what it changes, and whose signatures it has and needs
    Show(One),
    /// List all proposals
    List(List),
    /// Follow a proposal until it is committed: exit code 0 committed, 2 unknown
    Watch(Watch),
    /// Propose what an out-of-date proposal meant, worked out anew from the channel as it is
    Rebase(Box<Rebase>),
}

/// A vote.
#[derive(Debug, Args)]
pub(in crate::cli) struct Vote {
    /// The proposal's ID
    id: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    flags: SettingFlags,
}

/// The ops channel, seen by one organization.
struct Session {
    client: Client,
    ops: Channel,
    ledger: ChannelOps,
}

impl Session {
    fn open(flags: &SettingFlags, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        let settings = flags.settings_of_command(environment)?;
        logging::start(settings.log_level, settings.log_format);
        let client = agent::connect(&settings)?;
        let ops = client.channel(settings.ops_channel.clone());
        let ledger = ChannelOps::new(ops.clone(), settings.channel_ops.clone());
        Ok(Self { client, ops, ledger })
    }

    /// A proposal. Whoever names it may have heard of it before the peer that is asked here: one that is not found is
    /// looked for a little longer.
    async fn proposal(&self, id: &str) -> anyhow::Result<Proposal> {
        let end = Instant::now() + BEHIND;
        let mut waits = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        loop {
            let error = match self.ledger.get_proposal(id).await {
                Ok(proposal) => return Ok(proposal),
                Err(error) => error,
            };
            let wait = waits.next().filter(|wait| Instant::now() + *wait < end && error.refusal().is_some());
            let Some(wait) = wait else {
                return Err(error).with_context(|| format!("cannot read proposal {}", text::bounded(id, 80)));
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// The organization's signature over an update, as proposals carry it.
    async fn signature(&self, update: &[u8]) -> anyhow::Result<String> {
        let signed = self.client.sign_config_update(update).await.context("the update was not signed")?;
        Ok(BASE64_STANDARD.encode(signed.encode_to_vec()))
    }
}

/// Carries out one of these commands.
pub(in crate::cli) async fn run(
    command: ChannelCommand,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Exit> {
    match command {
        ChannelCommand::Request(request) => request::run(*request, environment).await,
        ChannelCommand::Rebase(rebase) => request::rebase(*rebase, environment).await,
        ChannelCommand::Vote(vote) => cast(&vote, environment).await,
        ChannelCommand::Show(one) => show(&one, environment).await,
        ChannelCommand::List(list) => show_all(&list, environment).await,
        ChannelCommand::Watch(watch) => {
            let session = Session::open(&watch.flags, environment)?;
            follow(&session, &watch.id, watch.timeout.map(Duration::from_secs), watch.json).await
        }
    }
}

async fn cast(vote: &Vote, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&vote.flags, environment)?;
    let proposal = session.proposal(&vote.id).await?;
    let shown = text::bounded(&vote.id, 80);
    let update = update_of(&proposal)?;
    output::say(&describe(&session, &proposal, &update).await?);
    if !vote.yes
        && !asked(&format!("Sign this update of {} and vote for {shown}?", text::bounded(&proposal.channel_id, 80)))?
    {
        output::say("not voted");
        return Ok(Exit::Failed);
    }
    let signature = session.signature(&update).await?;
    let committed = session
        .ledger
        .vote(&vote.id, &signature)
        .await
        .with_context(|| format!("the vote on {shown} was not counted"))?;
    output::say(&format!("{} agreed to {shown} (block {})", session.client.msp_id(), committed.block));
    Ok(Exit::Done)
}

/// Asks the person at the terminal.
fn asked(question: &str) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(UsageError("nobody can be asked here: look at what is shown, and use --yes".to_owned()).into());
    }
    output::say(&format!("{question} [y/N]"));
    let mut answer = String::new();
    input.lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn update_of(proposal: &Proposal) -> anyhow::Result<Vec<u8>> {
    let update = BASE64_STANDARD.decode(proposal.artifacts.config_update.trim());
    update.context("the proposal's update is not base64")
}

/// The proposal and what it changes, for people.
async fn describe(session: &Session, proposal: &Proposal, update: &[u8]) -> anyhow::Result<String> {
    let mut fields = vec![
        ("ID", proposal.id.clone()),
        ("Status", proposal.status.to_string()),
        ("Proposed by", proposal.creator.clone()),
        ("Channel", proposal.channel_id.clone()),
        ("Action", proposal.action.to_string()),
        ("Signed by", proposal.artifacts.signatures.keys().cloned().collect::<Vec<_>>().join(", ")),
    ];
    if !proposal.description.is_empty() {
        fields.push(("Description", proposal.description.clone()));
    }
    let changes = difference::of(session, proposal, update).await?;
    Ok(format!("{}\n\n{changes}", output::fields(&fields)))
}

async fn show(one: &One, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&one.flags, environment)?;
    let proposal = session.proposal(&one.id).await?;
    if one.json {
        output::put_json(&proposal)?;
    } else {
        let update = update_of(&proposal)?;
        output::put(&describe(&session, &proposal, &update).await?)?;
    }
    Ok(Exit::Done)
}

async fn show_all(list: &List, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&list.flags, environment)?;
    let proposals = session.ledger.get_all_proposals().await.context("cannot list the proposals")?;
    let status = list.status.as_deref().map(Status::from);
    let proposals: BTreeMap<String, Proposal> = proposals
        .into_iter()
        .filter(|(_, proposal)| status.as_ref().is_none_or(|status| proposal.status == *status))
        .filter(|(_, proposal)| list.channel.as_ref().is_none_or(|channel| proposal.channel_id == *channel))
        .collect();
    if list.json {
        output::put_json(&proposals.values().collect::<Vec<_>>())?;
    } else if proposals.is_empty() {
        output::say("there are no such proposals");
    } else {
        let rows: Vec<Vec<String>> = proposals
            .values()
            .map(|proposal| {
                let signed = proposal.artifacts.signatures.keys().cloned().collect::<Vec<_>>().join(", ");
                let (action, status) = (proposal.action.to_string(), proposal.status.to_string());
                vec![proposal.id.clone(), proposal.channel_id.clone(), action, status, proposal.creator.clone(), signed]
            })
            .collect();
        output::put(&output::table(&["ID", "CHANNEL", "ACTION", "STATUS", "PROPOSED BY", "SIGNED BY"], &rows))?;
    }
    Ok(Exit::Done)
}

/// Follows a proposal and tells every change. Ends when it is committed, with `timeout`, or with SIGINT.
async fn follow(session: &Session, id: &str, timeout: Option<Duration>, json: bool) -> anyhow::Result<Exit> {
    followed(id, timeout, watch(session, id, json)).await
}

async fn watch(session: &Session, id: &str, json: bool) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let height = session.ops.height().await.context("the ops channel cannot be reached")?;
    let mut blocks = session.ops.filtered_blocks(Start::Number(height));
    let mut seen: Option<(Status, Vec<String>)> = None;
    loop {
        // The first look must succeed: a proposal that does not exist is not waited for.
        match session.proposal(id).await {
            Ok(proposal) => {
                let signed: Vec<String> = proposal.artifacts.signatures.keys().cloned().collect();
                let now = (proposal.status.clone(), signed);
                if seen.as_ref() != Some(&now) {
                    tell(&now, begun.elapsed(), json)?;
                }
                if now.0 == Status::Committed {
                    return Ok(Exit::Done);
                }
                seen = Some(now);
            }
            Err(error) if seen.is_none() => return Err(error),
            Err(error) => tracing::warn!(error = text::bounded(&format!("{error:#}"), 1000), "cannot look just now"),
        }
        tokio::select! {
            block = blocks.next() => if let Some(Err(_)) | None = block {
                tokio::time::sleep(AGAIN).await;
            },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

fn tell((status, signed): &(Status, Vec<String>), elapsed: Duration, json: bool) -> anyhow::Result<()> {
    if json {
        return output::put_json_line(&serde_json::json!({ "status": status, "signedBy": signed }));
    }
    let (status, signed) = (text::bounded(status.as_str(), 40), text::bounded(&signed.join(", "), 400));
    output::put(&format!("{:>7.2} s  proposal is {status}, signed by {signed}", elapsed.as_secs_f64()))
}
