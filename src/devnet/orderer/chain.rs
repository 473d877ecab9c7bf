//! One channel at the ordering service: what may be ordered, and the blocks that come of it.
//!
//! A module of its own because all orderers of the network share it: there is no consensus to reach in one process.
//! Each orderer is a door of its own to the same chain, and those that are up sign the blocks in turn; where the
//! configuration says BFT, a quorum of them signs each, and without one there are no blocks.
//!
//! Invariants: an envelope is checked again when the configuration has changed since it was let in; a block that
//! anybody has seen is on disk, where the network is kept there.
//!
//! Source: Fabric 3.1.5 `orderer/common/{broadcast,msgprocessor,multichannel}`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::chains::Chains;
use super::cutter::Cutter;
use super::signatures::{self, Numbered, Recent, is_bft, quorum, signature_header};
use super::update;
use crate::devnet::access::{Access, Signed};
use crate::devnet::deliver::Feed;
use crate::devnet::faults::Faults;
use crate::devnet::files::FileError;
use crate::devnet::ledger::BlockStore;
use crate::devnet::storage::Log;
use crate::fabric::block::{data_hash, header_hash, last_config};
use crate::fabric::identity::{SignError, Signer};
use crate::pb::common::{
    Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, HeaderType, LastConfig, Metadata,
    OrdererBlockMetadata, Payload, Status,
};
use crate::pb::orderer::BroadcastResponse;
use crate::runtime::{CancellationToken, Workers};

/// Envelopes that may wait for the chain's worker; then broadcasts wait too.
const QUEUED: usize = 1000;

/// Why a message was not ordered: the answer to the client.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) info: String,
}

impl Refusal {
    pub(super) fn new(status: Status, info: impl Into<String>) -> Self {
        Self { status, info: info.into() }
    }

    pub(super) fn bad_request(info: impl Into<String>) -> Self {
        Self::new(Status::BadRequest, info)
    }
}

impl From<Refusal> for BroadcastResponse {
    fn from(refusal: Refusal) -> Self {
        Self { status: refusal.status as i32, info: refusal.info }
    }
}

/// A message on its way into a block.
struct Queued {
    /// The envelope that was broadcast.
    envelope: Envelope,
    /// What becomes of it where it is an update of a configuration.
    change: Option<Change>,
    /// The configuration that it was checked against.
    sequence: u64,
}

/// What becomes of an update.
pub(super) enum Change {
    /// An envelope with the channel's next configuration.
    Config(Bytes),
    /// On the system channel, a new channel.
    Creation {
        /// The envelope that says so on the system channel.
        transaction: Bytes,
        /// The first envelope of the new one.
        first: Envelope,
    },
}

/// An orderer as a chain knows it.
#[derive(Debug, Clone)]
pub(crate) struct BlockSigner {
    pub(crate) name: String,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) faults: Faults,
    pub(crate) up: Arc<AtomicBool>,
}

/// Why a chain cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    #[error("block could not be signed")]
    Sign(#[from] SignError),
    #[error("block could not be kept")]
    Keep(#[from] FileError),
}

/// One channel at the ordering service.
pub(crate) struct Chain {
    channel: String,
    blocks: BlockStore,
    access: RwLock<Arc<Access>>,
    queue: mpsc::Sender<Queued>,
    signers: RwLock<Vec<BlockSigner>>,
    /// Told when an orderer comes, or comes up.
    stirred: Notify,
    /// Of BFT's orderers: what they have heard of.
    recent: Mutex<Recent>,
    log: Option<Log>,
    /// Of a system channel: where the channels go that are made on it.
    system: Option<Weak<Chains>>,
    workers: Workers,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Feed for Chain {
    fn blocks(&self) -> &BlockStore {
        &self.blocks
    }

    fn may_read(&self, signed: &Signed) -> bool {
        !signed.is_expired(SystemTime::now())
            && self.access().evaluate("/Channel/Readers", std::slice::from_ref(signed)).is_ok()
    }

    fn ended(&self) -> CancellationToken {
        self.workers.token()
    }
}

impl Chain {
    /// Starts the chain of `channel`, of which there are `blocks` already; `access` is the configuration of the last of
    /// them that brings one. New blocks go to `log` before they are shown. Of a system channel, `system` is where the
    /// channels go that are made on it.
    pub(super) fn start(
        channel: &str,
        blocks: BlockStore,
        access: Access,
        log: Option<Log>,
        system: Option<Weak<Chains>>,
        workers: &Workers,
    ) -> Arc<Self> {
        let (queue, messages) = mpsc::channel(QUEUED);
        let workers = workers.child();
        let chain = Arc::new(Self {
            channel: channel.to_owned(),
            blocks,
            access: RwLock::new(Arc::new(access)),
            queue,
            signers: RwLock::default(),
            stirred: Notify::new(),
            recent: Mutex::default(),
            log,
            system,
            workers: workers.clone(),
        });
        let last_config = chain.last_config();
        let worker = Worker { chain: Arc::clone(&chain), cutter: Cutter::default(), last_config };
        workers.spawn(format!("chain {channel}"), worker.run(messages));
        chain
    }

    /// Ends the chain for everybody who follows it.
    pub(crate) fn end(&self) {
        self.workers.cancel();
    }

    /// From now on, this orderer signs blocks too.
    pub(crate) fn add_signer(&self, signer: BlockSigner) {
        let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
        signers.retain(|known| known.name != signer.name);
        signers.push(signer);
        drop(signers);
        self.stir();
    }

    /// Looks again who can sign.
    pub(super) fn stir(&self) {
        self.stirred.notify_waiters();
    }

    /// From now on, the orderer `name` signs no blocks. Returns whether there are others.
    pub(crate) fn remove_signer(&self, name: &str) -> bool {
        let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
        signers.retain(|known| known.name != name);
        !signers.is_empty()
    }

    /// The orderers that sign its blocks.
    pub(super) fn signers(&self) -> Vec<BlockSigner> {
        self.signers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its channel.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Who signs the block with `number`: the orderers that are up, in turn.
    fn signer(&self, number: u64) -> Result<BlockSigner, SignError> {
        let signers = self.signers.read().unwrap_or_else(PoisonError::into_inner);
        let up: Vec<_> = signers.iter().filter(|signer| signer.up.load(Ordering::Relaxed)).collect();
        // What was let in before the last orderer stopped is ordered all the same.
        let candidates = if up.is_empty() { signers.iter().collect() } else { up };
        let turn = usize::try_from(number).unwrap_or_default().checked_rem(candidates.len());
        let chosen = turn.and_then(|turn| candidates.get(turn));
        chosen.copied().cloned().ok_or_else(|| SignError::Refused("channel has no orderer".into()))
    }

    /// All who sign the block with `number`: one, or a quorum that is waited for.
    async fn block_signers(&self, number: u64) -> Result<Vec<Numbered>, SignError> {
        loop {
            let access = self.access();
            if !is_bft(&access) {
                return Ok(vec![(None, self.signer(number)?)]);
            }
            let stirred = self.stirred.notified();
            tokio::pin!(stirred);
            // Before the look: whoever comes after it is heard.
            stirred.as_mut().enable();
            if let Some(signers) = quorum(&access, &self.signers(), number) {
                return Ok(signers);
            }
            tracing::warn!(channel = %self.channel, block = number, "waiting for a quorum of orderers");
            stirred.await;
        }
    }

    /// The number of the newest block that brings a configuration.
    pub(crate) fn last_config(&self) -> u64 {
        // Blocks of our own making say it, and a first block is its own.
        last_config(&self.blocks.last()).unwrap_or(0)
    }

    /// The channel's configuration as it is now.
    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a broadcast message in, or refuses it. It is in a block some time after the answer.
    /// `now` is what time it is for the orderer that was asked.
    pub(crate) async fn broadcast(
        &self,
        header: &ChannelHeader,
        envelope: Envelope,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let access = self.access();
        let kind = HeaderType::try_from(header.r#type);
        let is_bft = is_bft(&access);
        let exists = || Refusal::new(Status::ServiceUnavailable, "failed to submit request: request already exists");
        if is_bft && self.recent.lock().unwrap_or_else(PoisonError::into_inner).contains(&envelope) {
            return Err(exists());
        }
        let change = match kind {
            Ok(HeaderType::ConfigUpdate) => {
                Some(self.process_change(&access, &header.channel_id, &envelope, now).await?)
            }
            Ok(HeaderType::OrdererTransaction) if self.system.is_none() => {
                return Err(Refusal::bad_request("message is of type that is no longer supported"));
            }
            Ok(HeaderType::Config | HeaderType::OrdererTransaction) => {
                return Err(Refusal::bad_request("message is of type that cannot be processed directly"));
            }
            _ if header.channel_id != self.channel => {
                return Err(Refusal::new(Status::NotFound, "channel does not exist"));
            }
            _ => {
                check_normal(&access, &envelope, now)?;
                None
            }
        };
        if is_bft && !self.recent.lock().unwrap_or_else(PoisonError::into_inner).insert(&envelope) {
            return Err(exists());
        }
        let queued = Queued { envelope, change, sequence: access.sequence() };
        self.queue.send(queued).await.map_err(|_| Refusal::new(Status::ServiceUnavailable, "chain is stopped"))
    }

    /// What becomes of an update that says that it is for `channel`: this one, or on the system channel another.
    async fn process_change(
        &self,
        access: &Access,
        channel: &str,
        envelope: &Envelope,
        now: SystemTime,
    ) -> Result<Change, Refusal> {
        match self.system.as_ref().and_then(Weak::upgrade) {
            Some(chains) if channel != self.channel => {
                self.process_creation(access, channel, envelope, chains.channels().len(), now).await
            }
            _ => self.process_update(access, envelope, now).await.map(Change::Config),
        }
    }

    /// Computes the configuration that an update leads to, as the envelope that goes into a block.
    async fn process_update(&self, access: &Access, envelope: &Envelope, now: SystemTime) -> Result<Bytes, Refusal> {
        check(access, envelope, now).map_err(|refusal| Refusal {
            info: format!("config update for existing channel did not pass initial checks: {}", refusal.info),
            ..refusal
        })?;
        let config = update::propose(access, &self.channel, envelope).map_err(|error| {
            Refusal::bad_request(format!(
                "error applying config update to existing channel '{}': {error}",
                self.channel
            ))
        })?;
        let envelope = self
            .signed(HeaderType::Config, &self.channel, config.encode_to_vec().into())
            .await
            .map_err(|error| Refusal::new(Status::InternalServerError, error.to_string()))?;
        check(access, &envelope, now).map_err(|refusal| Refusal {
            info: format!("config update for existing channel did not pass final checks: {}", refusal.info),
            ..refusal
        })?;
        update::check_of_bft(&config).map_err(|info| Refusal::new(Status::ServiceUnavailable, info))?;
        Ok(envelope.encode_to_vec().into())
    }

    /// `data` in an envelope of an orderer's own.
    pub(super) async fn signed(&self, kind: HeaderType, channel: &str, data: Bytes) -> Result<Envelope, SignError> {
        let signer = self.signer(self.blocks.height())?;
        let channel_header = ChannelHeader {
            r#type: kind as i32,
            timestamp: Some(signer.faults.now().into()),
            channel_id: channel.to_owned(),
            ..ChannelHeader::default()
        };
        let header = Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header(&signer).encode_to_vec().into(),
        };
        let payload: Bytes = Payload { header: Some(header), data }.encode_to_vec().into();
        let signature = signer.signer.sign(&payload).await?;
        Ok(Envelope { payload, signature })
    }
}

/// The checks of messages that change no configuration.
fn check_normal(access: &Access, envelope: &Envelope, now: SystemTime) -> Result<(), Refusal> {
    if access.consensus().maintenance {
        return Err(Refusal::new(Status::ServiceUnavailable, "normal transactions are rejected: maintenance mode"));
    }
    check(access, envelope, now)
}

/// The checks that every message must pass: not empty, not too large, from a writer whose certificate is still good.
pub(super) fn check(access: &Access, envelope: &Envelope, now: SystemTime) -> Result<(), Refusal> {
    if envelope.payload.is_empty() {
        return Err(Refusal::bad_request("Message was empty"));
    }
    let size = size(envelope);
    let most = access.batch().absolute_max_bytes;
    if size > most as usize {
        return Err(Refusal::bad_request(format!(
            "message payload is {size} bytes and exceeds maximum allowed {most} bytes"
        )));
    }
    let signed = Signed::of_envelope(envelope)
        .ok_or_else(|| Refusal::bad_request("could not convert message to signedData: malformed header"))?;
    if signed.is_expired(now) {
        return Err(Refusal::bad_request("broadcast client identity expired"));
    }
    let writers = if access.consensus().maintenance { "/Channel/Orderer/Writers" } else { "/Channel/Writers" };
    access
        .evaluate(writers, &[signed])
        .map_err(|denied| Refusal::new(Status::Forbidden, format!("{denied}: permission denied")))
}

fn size(envelope: &Envelope) -> usize {
    envelope.payload.len() + envelope.signature.len()
}

/// The channel that an envelope which was read before is for.
fn channel_of(envelope: &Envelope) -> String {
    let header = Payload::decode(envelope.payload.clone()).ok().and_then(|payload| payload.header);
    let header = header.and_then(|header| ChannelHeader::decode(header.channel_header).ok());
    header.map(|header| header.channel_id).unwrap_or_default()
}

/// The worker that makes a chain's blocks.
struct Worker {
    chain: Arc<Chain>,
    cutter: Cutter,
    last_config: u64,
}

impl Worker {
    async fn run(mut self, mut messages: mpsc::Receiver<Queued>) -> Result<(), ChainError> {
        let mut deadline: Option<Instant> = None;
        loop {
            let message = match deadline {
                Some(at) => tokio::time::timeout_at(at, messages.recv()).await.ok(),
                None => Some(messages.recv().await),
            };
            match message {
                // The time is up.
                None => {
                    if let Some(batch) = self.cutter.cut() {
                        self.write(batch).await?;
                    }
                }
                Some(Some(message)) => self.take(message).await?,
                Some(None) => return Ok(()),
            }
            deadline = match (self.cutter.is_pending(), deadline) {
                (false, _) => None,
                (true, Some(at)) if at > Instant::now() => Some(at),
                (true, _) => Some(Instant::now() + self.chain.access().batch().timeout),
            };
        }
    }

    async fn take(&mut self, mut message: Queued) -> Result<(), ChainError> {
        let access = self.chain.access();
        if message.sequence < access.sequence() {
            // The configuration has changed since; what was allowed then may not be now.
            let now = SystemTime::now();
            let still_valid = if message.change.is_none() {
                check_normal(&access, &message.envelope, now).map(|()| None)
            } else {
                let channel = channel_of(&message.envelope);
                self.chain.process_change(&access, &channel, &message.envelope, now).await.map(Some)
            };
            match still_valid {
                Ok(change) => message.change = change,
                Err(refusal) => {
                    tracing::debug!(channel = %self.chain.channel, error = %refusal.info, "message dropped");
                    return Ok(());
                }
            }
        }
        match message.change {
            None => {
                let size = size(&message.envelope);
                let envelope = message.envelope.encode_to_vec().into();
                for batch in self.cutter.ordered(envelope, size, access.batch()) {
                    self.write(batch).await?;
                }
            }
            Some(change) => {
                if let Some(batch) = self.cutter.cut() {
                    self.write(batch).await?;
                }
                match change {
                    Change::Config(envelope) => self.write_config(envelope).await?,
                    Change::Creation { transaction, first } => {
                        // First the channel, then the block that says so: whoever sees the one finds the other.
                        self.make_channel(&first);
                        self.write(vec![transaction]).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn write_config(&mut self, envelope: Bytes) -> Result<(), ChainError> {
        self.last_config = self.chain.blocks.height();
        let block = self.make(vec![envelope]).await?;
        self.keep(&block).await?;
        // First the configuration, then the block: whoever sees the block is answered by its rules.
        match Access::from_block(&block) {
            Ok(access) => {
                *self.chain.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
            }
            Err(error) => {
                tracing::error!(channel = %self.chain.channel, error = %error, "configuration cannot be read");
            }
        }
        self.chain.blocks.append(Arc::new(block));
        Ok(())
    }

    fn make_channel(&self, first: &Envelope) {
        let Some(chains) = self.chain.system.as_ref().and_then(Weak::upgrade) else { return };
        if let Err(error) = chains.make(first, self.chain.signers()) {
            tracing::error!(system_channel = %self.chain.channel, %error, "channel was not made");
        }
    }

    async fn write(&mut self, batch: Vec<Bytes>) -> Result<(), ChainError> {
        let block = self.make(batch).await?;
        self.keep(&block).await?;
        self.chain.blocks.append(Arc::new(block));
        Ok(())
    }

    async fn keep(&self, block: &Block) -> Result<(), FileError> {
        match &self.chain.log {
            Some(log) => log.append(block.encode_to_vec()).await,
            None => Ok(()),
        }
    }

    async fn make(&self, batch: Vec<Bytes>) -> Result<Block, SignError> {
        let data = BlockData { data: batch };
        let last = self.chain.blocks.last();
        let number = self.chain.blocks.height();
        let signers = self.chain.block_signers(number).await?;
        if let Some((_, first)) = signers.first() {
            first.faults.before_block().await;
        }
        let header = BlockHeader {
            number,
            previous_hash: last.header.as_ref().map(header_hash).unwrap_or_default().to_vec().into(),
            data_hash: data_hash(&data).to_vec().into(),
        };
        let last_config = LastConfig { index: self.last_config };
        let value = OrdererBlockMetadata {
            last_config: Some(last_config),
            consenter_metadata: Metadata::default().encode_to_vec().into(),
        }
        .encode_to_vec();
        let signatures = signatures::sign(&signers, value, &header).await?;
        let last_config = Metadata { value: last_config.encode_to_vec().into(), signatures: Vec::new() };
        Ok(Block {
            header: Some(header),
            data: Some(data),
            metadata: Some(BlockMetadata {
                metadata: vec![
                    signatures.encode_to_vec().into(),
                    last_config.encode_to_vec().into(),
                    Bytes::new(),
                    Bytes::new(),
                    Bytes::new(),
                ],
            }),
        })
    }
}
