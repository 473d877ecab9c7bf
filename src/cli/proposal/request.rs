//! Making a proposal out of arguments, and requesting it.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;

use super::super::failure::{Exit, UsageError};
use super::super::output;
use super::super::settings::SettingFlags;
use super::{Follow, Session};
use crate::agent::{self, text};
use crate::fabric::names::{ChaincodeName, ChannelName};
use crate::fabric::policy::DefinitionEncoding;
use crate::opssc::chaincode_ops::{ChaincodeDefinition, ChaincodePackage, PackageType, ProposalInput};

/// What is proposed.
#[derive(Debug, Args)]
pub(in crate::cli) struct Request {
    /// Take the whole proposal from a JSON file, in the contract's own form (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "channel", "chaincode", "repository", "commit"])]
    from: Option<PathBuf>,
    /// The proposal's ID [default: <channel>-<chaincode>-<sequence>]
    #[arg(long)]
    id: Option<String>,
    /// The channel to deploy to
    #[arg(long, required_unless_present = "from")]
    channel: Option<String>,
    /// The chaincode's name
    #[arg(long, required_unless_present = "from")]
    chaincode: Option<String>,
    /// The definition's sequence [default: the next one]
    #[arg(long)]
    sequence: Option<i64>,
    /// ccaas, k8s, golang, javascript, typescript or java
    #[arg(long = "type", value_name = "TYPE", default_value = "ccaas")]
    package_type: String,
    /// Where the sources are, without a scheme, such as github.com/org/repo
    #[arg(long, required_unless_present = "from")]
    repository: Option<String>,
    /// A commit, tag or branch of the repository
    #[arg(long, required_unless_present = "from")]
    commit: Option<String>,
    /// The folder of the sources inside the repository
    #[arg(long, default_value = "")]
    path: String,
    /// The endorsement policy: a signature policy or a reference to a policy of the channel (`@FILE`: from a file)
    #[arg(long, default_value = "/Channel/Application/Endorsement")]
    policy: String,
    /// A file with the private data collections, as the peer command takes it
    #[arg(long, value_name = "FILE")]
    collections: Option<PathBuf>,
    /// The chaincode must be initialized before it is invoked
    #[arg(long)]
    init_required: bool,
    /// Print the stored proposal as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    flags: SettingFlags,
}

pub(super) async fn run(request: Request, environment: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Exit> {
    let session = Session::open(&request.flags, environment)?;
    let input = match &request.from {
        Some(path) => serde_json::from_str(&read(path)?)
            .map_err(|error| UsageError(format!("{} holds no proposal: {error}", path.display())))?,
        None => request.input(&session).await?,
    };
    let shown = text::bounded(&input.id, 80);
    let proposal =
        session.ledger.request_proposal(&input).await.with_context(|| format!("proposal {shown} was not requested"))?;
    if request.json {
        output::put_json(&proposal)?;
    } else {
        output::put(&text::bounded(&proposal.id, 1000))?;
    }
    output::say(&format!("{} proposed {shown}", session.settings.msp_id));
    super::after(&session, &input.id, &request.follow).await
}

impl Request {
    async fn input(&self, session: &Session) -> anyhow::Result<ProposalInput> {
        let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
        let channel = ChannelName::parse(self.channel.as_deref().unwrap_or_default()).map_err(|error| usage(&error))?;
        let name =
            ChaincodeName::parse(self.chaincode.as_deref().unwrap_or_default()).map_err(|error| usage(&error))?;
        let sequence = match self.sequence {
            Some(sequence) => sequence,
            None => next_sequence(session, &channel, &name).await?,
        };
        let policy = match self.policy.strip_prefix('@') {
            Some(path) => read(Path::new(path))?,
            None => self.policy.clone(),
        };
        let validation_parameter = BASE64_STANDARD.encode(policy.trim());
        agent::endorsement_policy(&validation_parameter, DefinitionEncoding::Fabric)
            .map_err(|error| UsageError(format!("--policy is not valid: {}", text::bounded(&error, 1000))))?;
        let collections = match &self.collections {
            Some(path) => {
                let encoded = BASE64_STANDARD.encode(read(path)?);
                agent::collections(&encoded, DefinitionEncoding::Fabric)
                    .map_err(|error| UsageError(text::bounded(&error, 1000)))?;
                encoded
            }
            None => String::new(),
        };
        Ok(ProposalInput {
            id: self.id.clone().unwrap_or_else(|| format!("{channel}-{name}-{sequence}")),
            channel_id: channel.to_string(),
            chaincode_name: name.to_string(),
            chaincode_package: ChaincodePackage {
                repository: self.repository.clone().unwrap_or_default(),
                commit_id: self.commit.clone().unwrap_or_default(),
                path_to_source_files: self.path.clone(),
                package_type: PackageType::from(self.package_type.as_str()),
            },
            chaincode_definition: ChaincodeDefinition {
                sequence,
                init_required: self.init_required,
                validation_parameter,
                collections,
            },
        })
    }
}

/// The sequence that the channel expects next.
async fn next_sequence(session: &Session, channel: &ChannelName, name: &ChaincodeName) -> anyhow::Result<i64> {
    let committed = session.client.channel(channel.clone()).lifecycle().committed(name).await.with_context(|| {
        format!("cannot find out the next sequence of {name} on {channel}; give it with --sequence")
    })?;
    Ok(committed.map_or(1, |committed| committed.definition.sequence.saturating_add(1)))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut content = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut content).context("cannot read standard input")?;
        return Ok(content);
    }
    std::fs::read_to_string(path).map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())).into())
}
