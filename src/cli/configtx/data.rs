//! Commands that turn one form into another, sign, and show.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use prost::Message as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{config, read, read_text, write};
use crate::agent::text;
use crate::cli::failure::UsageError;
use crate::cli::output;
use crate::fabric::config::tree::{Config, ConfigUpdate};
use crate::fabric::config::update::{UpdateError, apply, compute, standing};
use crate::fabric::config::{Artifacts, ConfigSigner, json, show};
use crate::fabric::identity::pem;
use crate::fabric::names::MspId;
use crate::fabric::tx::Nonce;
use crate::pb::common::{ConfigUpdateEnvelope, Envelope, Payload};

#[derive(Debug, Args)]
pub(in crate::cli) struct ComputeUpdate {
    /// The configuration as it is (a `common.Config`; a configuration block does as well)
    #[arg(long, value_name = "FILE")]
    original: PathBuf,
    /// The configuration as it is to be
    #[arg(long, value_name = "FILE")]
    updated: PathBuf,
    /// The channel's name
    #[arg(long = "channel_id", alias = "channel-id", value_name = "CHANNEL")]
    channel: String,
    /// The file to write (`-`: standard output)
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

impl ComputeUpdate {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let update = compute(&self.channel, &config(&self.original)?, &config(&self.updated)?)?;
        write(&self.output, &update.encode())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Convert {
    /// The message, such as `common.Config`, `common.Block` or `common.ConfigUpdate`
    #[arg(long = "type", value_name = "MESSAGE")]
    message: String,
    /// The file to read (`-`: standard input)
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// The file to write (`-`: standard output)
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

impl Convert {
    pub(super) fn decode(&self) -> anyhow::Result<()> {
        let json = json::decode(&self.message, &read(&self.input)?).map_err(of_usage)?;
        let mut text = serde_json::to_string_pretty(&json).context("cannot be shown as JSON")?;
        text.push('\n');
        write(&self.output, text.as_bytes())
    }

    pub(super) fn encode(&self) -> anyhow::Result<()> {
        let json = serde_json::from_str(&read_text(&self.input)?)
            .map_err(|error| UsageError(format!("{} is no JSON: {error}", self.input.display())))?;
        write(&self.output, &json::encode(&self.message, &json).map_err(of_usage)?)
    }
}

fn of_usage(error: json::JsonError) -> anyhow::Error {
    match error {
        json::JsonError::Unknown { .. } => {
            UsageError(format!("{error}; known are {}", json::messages().join(", "))).into()
        }
        error => error.into(),
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Sign {
    /// The update to sign, in an envelope or bare
    #[arg(long, aliases = ["configUpdate", "update"], value_name = "FILE")]
    config_update: PathBuf,
    /// The organization's MSP ID
    #[arg(long, alias = "mspID", value_name = "MSPID")]
    msp_id: String,
    /// The signer's certificate
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// The signer's key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Sign with an Ed25519 key, which needs the channel capability `V3_0`
    #[arg(long)]
    allow_ed25519: bool,
    /// The file to write (`-`: standard output)
    #[arg(long, short, aliases = ["outputFile", "outputPath"], value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

impl Sign {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let key = read(&self.key)?;
        anyhow::ensure!(pem::first(&key).is_some(), "{} holds no key", self.key.display());
        let signer = ConfigSigner::from_pem(MspId::parse(self.msp_id.clone())?, &read(&self.cert)?, &key)?;
        if !signer.is_ecdsa() && !self.allow_ed25519 {
            let reason = "an Ed25519 key signs for channels with the capability V3_0 only: say --allow-ed25519";
            return Err(UsageError(reason.to_owned()).into());
        }
        if !signer.key_fits() {
            output::say("warning: the key is not the certificate's: no orderer will count this signature");
        }
        let update = signed_update(&read(&self.config_update)?).config_update;
        ConfigUpdate::decode(&update).context("this is no update")?;
        let signature = signer.sign(&update, nonce()?);
        write(&self.output, &signature.encode_to_vec())
    }
}

fn nonce() -> anyhow::Result<Nonce> {
    let mut bytes = [0; 24];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(Nonce(bytes))
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateEnvelope {
    /// `configUpdate` and `signatures` in base64, as a proposal's artifacts are (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// The file to write (`-`: standard output)
    #[arg(long, short, aliases = ["outputFile", "outputPath"], value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

impl CreateEnvelope {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let artifacts = Artifacts::parse(&read_text(&self.profile)?)?;
        let envelope = artifacts.to_envelope(std::time::SystemTime::now().into())?;
        write(&self.output, &envelope.encode_to_vec())
    }
}

/// With an update it is shown what it changes and who has to sign it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// The configuration as it is: a configuration block or a `common.Config`
    #[arg(long, aliases = ["block"], value_name = "FILE")]
    original: PathBuf,
    /// The configuration as it is to be
    #[arg(long, value_name = "FILE", required_unless_present = "update", conflicts_with = "update")]
    updated: Option<PathBuf>,
    /// An update, bare or in an envelope
    #[arg(long, value_name = "FILE")]
    update: Option<PathBuf>,
}

impl Diff {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let original = config(&self.original)?;
        let Some(update) = &self.update else {
            let updated = self.updated.as_ref().context("nothing to compare with")?;
            return print(&show::diff(&original, &config(updated)?)?);
        };
        let signed = signed_update(&read(update)?);
        let read = ConfigUpdate::decode(&signed.config_update).context("this is no update")?;
        let root = original.channel_group.as_ref().ok_or(UpdateError::NoGroup { which: "current" })?;
        let group = apply(root, &read, &read.channel_id, |_| Ok(()))?;
        let updated = Config { channel_group: Some(group), ..original.clone() };
        print(&show::diff(&original, &updated)?)?;
        output::warn(Some(&original), &updated);
        let channel = super::channel_config(&read.channel_id, &original)?;
        for standing in standing(&channel, &signed.config_update, &signed.signatures)? {
            output::put(&text::clean(&standing.to_string()))?;
        }
        Ok(())
    }
}

/// The update with its signatures, out of whatever holds it.
pub(in crate::cli) fn signed_update(bytes: &[u8]) -> ConfigUpdateEnvelope {
    let enveloped = Envelope::decode(bytes)
        .and_then(|envelope| Payload::decode(envelope.payload))
        .and_then(|payload| ConfigUpdateEnvelope::decode(payload.data))
        .ok()
        .filter(|message| ConfigUpdate::decode(&message.config_update).is_ok_and(|update| update.write_set.is_some()));
    enveloped.unwrap_or_else(|| ConfigUpdateEnvelope { config_update: bytes.to_vec().into(), signatures: Vec::new() })
}

fn print(changes: &[show::Change]) -> anyhow::Result<()> {
    for change in changes {
        for line in change.to_string().lines() {
            output::put(&text::clean(line))?;
        }
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// A configuration block or a `common.Config` (`-`: standard input)
    #[arg(long, aliases = ["original"], value_name = "FILE")]
    block: PathBuf,
}

impl Show {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        show::summary(&config(&self.block)?).iter().try_for_each(|line| output::put(&text::clean(line)))
    }
}
