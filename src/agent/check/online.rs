//! The network: every own peer and every orderer, the ops channel, its contracts.

use futures_util::future::join_all;

use super::Findings;
use crate::agent::config::Settings;
use crate::agent::{collector, text, watchers};
use crate::client::participation::BlockId;
use crate::client::{CallError, Client};
use crate::fabric::block::Block;
use crate::fabric::config::ChannelConfig;
use crate::fabric::identity::Role;
use crate::fabric::names::ChannelName;
use crate::opssc::calls::ChannelOps;
use crate::opssc::channel_ops::ChannelType;

/// By how many seconds clocks may differ before somebody should know. Nodes refuse what differs by 15 minutes.
const SKEW: i64 = 60;

pub(super) async fn check(settings: &Settings, client: &Client, findings: &mut Findings) {
    watchers(settings, findings).await;
    let joined = peers(settings, client, findings).await;
    orderers(settings, client, findings).await;
    if !joined.iter().flatten().any(|channel| *channel == settings.ops_channel) {
        findings.skip("ops channel", "no own peer that was reached has joined it");
        return;
    }
    let ops = client.channel(settings.ops_channel.clone());
    match ops.config().await {
        Ok(config) => membership(client, &config, findings),
        Err(error) => findings.fail(
            "ops channel",
            &format!("its configuration cannot be read: {}", text::chain(&error)),
            "see what the peers say",
        ),
    }
    clock(client, &settings.ops_channel, findings).await;
    let mut all_committed = true;
    for contract in [&settings.chaincode_ops, &settings.channel_ops] {
        let subject = format!("contract {contract}");
        match ops.lifecycle().committed(contract).await {
            Ok(Some(committed)) => {
                findings.good(&subject, &format!("committed with sequence {}", committed.definition.sequence));
                continue;
            }
            Ok(None) => findings.fail(
                &subject,
                &format!("it is not committed on {}", settings.ops_channel),
                "deploy it, or name it as it is there (CC_OPS_CC_NAME, CH_OPS_CC_NAME)",
            ),
            Err(error) => findings.fail(&subject, &text::chain(&error), "see what the peers say"),
        }
        all_committed = false;
    }
    if all_committed {
        channels(settings, client, &joined, findings).await;
    }
}

/// Those who are told of the work. It goes on without them.
async fn watchers(settings: &Settings, findings: &mut Findings) {
    if let Some(named) = &settings.collector {
        let subject = format!("collector {}", collector::Shown(&named.endpoint));
        match collector::probe(named).await {
            Ok(()) => findings.good(&subject, "takes spans"),
            Err(what) => findings.warn(
                &subject,
                &format!("takes no spans: {what}"),
                "is its gRPC service running, and are OTEL_EXPORTER_OTLP_ENDPOINT, _CERTIFICATE and _HEADERS right?",
            ),
        }
    }
    // What is wrong with the settings was told already.
    if let Ok(Some(notifier)) = watchers::notifier(settings, &std::sync::Arc::default()) {
        let subject = format!("WebSocket server {}", notifier.server());
        match notifier.probe().await {
            Ok(()) => findings.good(&subject, "answers"),
            Err(what) => findings.warn(&subject, &what, "is it running, and are WS_URL and WS_TLS_CA right?"),
        }
    }
}

/// Asks every own peer, and yields what each has joined.
async fn peers(settings: &Settings, client: &Client, findings: &mut Findings) -> Vec<Vec<ChannelName>> {
    let asked = client.peers().iter().map(async |peer| (peer, client.joined_channels(peer).await));
    let mut joined = Vec::new();
    for (peer, answer) in join_all(asked).await {
        let subject = format!("peer {}", peer.name());
        match answer {
            Ok(channels) if channels.contains(&settings.ops_channel) => {
                findings.good(&subject, &format!("answers, has joined {} channels", channels.len()));
                joined.push(channels);
            }
            Ok(channels) => {
                let what = format!("answers, but has not joined {}", settings.ops_channel);
                findings.warn(&subject, &what, "the agent has it join");
                joined.push(channels);
            }
            Err(error) => findings.fail(&subject, &text::chain(&error), remedy(&error)),
        }
    }
    joined
}

async fn orderers(settings: &Settings, client: &Client, findings: &mut Findings) {
    let asked = client
        .orderers()
        .iter()
        .map(async |orderer| (orderer, client.fetch_block_of(orderer, &settings.ops_channel, BlockId::Newest).await));
    for (orderer, answer) in join_all(asked).await {
        let subject = format!("orderer {}", orderer.name());
        match answer {
            Ok(block) => {
                let number = block.header.map(|header| header.number).unwrap_or_default();
                findings.good(&subject, &format!("answers, has block {number} of {}", settings.ops_channel));
            }
            Err(error @ CallError::Refused { .. }) => {
                let what = format!("answers, but gives no block of {}: {}", settings.ops_channel, text::chain(&error));
                findings.warn(&subject, &what, "is the orderer, and the organization, part of that channel?");
            }
            Err(error) => findings.fail(&subject, &text::chain(&error), remedy(&error)),
        }
    }
    // What cannot be opened was told already.
    for admin in settings.orderers.open().unwrap_or_default() {
        let subject = format!("administration of {}", admin.node());
        match admin.channels().await {
            Ok(list) => findings.good(&subject, &format!("answers, has {} channels", list.channels.len())),
            Err(error) => findings.fail(
                &subject,
                &text::chain(&error),
                "see ORDERER_ADMIN_ENDPOINTS and ORDERER_ADMIN_TLS_*, and whether the orderer has its administration on",
            ),
        }
    }
}

/// What the ops channel thinks of the own identity.
fn membership(client: &Client, config: &ChannelConfig, findings: &mut Findings) {
    let subject = "identity's role";
    let msp_id = client.msp_id();
    if !config.application().contains_key(msp_id) {
        let what = format!("{msp_id} is no member of {}", config.channel());
        findings.fail(subject, &what, "have the members of the channel add the organization");
        return;
    }
    match config.identity(client.signer().creator()) {
        Ok(identity) => match identity.validate() {
            Err(error) => findings.fail(subject, &text::chain(&error), "use an identity that the channel's MSP knows"),
            Ok(()) if identity.has_role(Role::Admin) => findings.good(subject, "administrator"),
            Ok(()) => {
                let roles: Vec<&str> = identity.roles().into_iter().map(Role::as_str).collect();
                let what = format!("no administrator of {msp_id}, only {}", roles.join(", "));
                findings.fail(subject, &what, "name an administrator's certificate by ADMIN_CERT");
            }
        },
        Err(error) => findings.fail(subject, &text::chain(&error), "use an identity that the channel's MSP knows"),
    }
}

/// The newest block was made after whatever is in it, so this clock is behind when it disagrees.
async fn clock(client: &Client, channel: &ChannelName, findings: &mut Findings) {
    let Ok(block) = client.channel(channel.clone()).fetch(BlockId::Newest).await else {
        findings.skip("clock", "the newest block cannot be read");
        return;
    };
    let Ok(block) = Block::new(block) else {
        findings.skip("clock", "the newest block is not understood");
        return;
    };
    let newest =
        block.transactions().iter().filter_map(|transaction| Some(transaction.timestamp.as_ref()?.seconds)).max();
    match newest.map(|newest| newest - super::now()) {
        Some(behind) if behind > SKEW => findings.fail(
            "clock",
            &format!("the newest transaction is {behind} seconds ahead of this machine's clock"),
            "have the clock kept right, such as by NTP; nodes refuse what is 15 minutes off",
        ),
        Some(_) => findings.good("clock", "not behind the newest transaction"),
        None => findings.skip("clock", "the newest block tells no time"),
    }
}

/// The application channels that the ledger lists for the own organization.
async fn channels(settings: &Settings, client: &Client, joined: &[Vec<ChannelName>], findings: &mut Findings) {
    let ledger = ChannelOps::new(client.channel(settings.ops_channel.clone()), settings.channel_ops.clone());
    let listed = match ledger.get_all_channels().await {
        Ok(listed) => listed,
        Err(error) => {
            let what = format!("it does not answer: {}", text::chain(&error));
            findings.fail(
                &format!("contract {}", settings.channel_ops),
                &what,
                "is the chaincode running on the own peers?",
            );
            return;
        }
    };
    let own = |members: &std::collections::BTreeMap<String, String>| members.contains_key(client.msp_id().as_str());
    for channel in listed {
        let is_own = channel.organizations.as_ref().is_some_and(own);
        if channel.channel_type != ChannelType::Application || !is_own {
            continue;
        }
        let has_joined = joined.iter().filter(|known| known.iter().any(|name| name.as_str() == channel.id)).count();
        let subject = format!("channel {}", channel.id);
        if has_joined == client.peers().len() {
            findings.good(&subject, "all own peers have joined it");
        } else {
            let what = format!("{has_joined} of {} own peers have joined it", client.peers().len());
            findings.warn(&subject, &what, "the agent has the others join");
        }
    }
}

/// What helps where a node does not answer as it should.
fn remedy(error: &CallError) -> &'static str {
    match error {
        CallError::Transport { .. } | CallError::Deadline { .. } => {
            "is it running, and are its address and TLS certificates right in the connection profile?"
        }
        CallError::Rejected { .. } => {
            "is the identity an administrator's, and does the node ask for a TLS certificate?"
        }
        CallError::Refused { .. } => "is the identity an administrator of the node's organization?",
        _ => "see what the node says",
    }
}
