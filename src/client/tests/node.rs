//! A node that does as it is told: real gRPC and TLS on a port of the system's choice, answers out of a script.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::gateway::GatewayFault;
use crate::fabric::block::{data_hash, header_hash};
use crate::fabric::names::TxId;
use crate::pb::common::{
    Block, BlockData, BlockHeader, BlockMetadata, BlockMetadataIndex, BlockchainInfo, ChannelHeader, Envelope, Header,
    HeaderType, Payload, Status as FabricStatus,
};
use crate::pb::gateway::gateway_server::GatewayServer;
use crate::pb::orderer::atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer};
use crate::pb::orderer::seek_position::Type as Seek;
use crate::pb::orderer::{self, BroadcastResponse, SeekInfo};
use crate::pb::protos::deliver_response::Type as Delivered;
use crate::pb::protos::deliver_server::{Deliver, DeliverServer};
use crate::pb::protos::endorser_server::{Endorser, EndorserServer};
use crate::pb::protos::{
    ChaincodeInvocationSpec, ChaincodeProposalPayload, DeliverResponse, Endorsement, FilteredBlock,
    FilteredTransaction, Proposal, ProposalResponse, Response as ChaincodeResponse, SignedProposal,
};
use crate::runtime::Workers;

pub(super) const NAME: &str = "node.test";

/// Certificates for nodes and clients, from one authority.
pub(super) struct Tls {
    pub(super) roots: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Tls {
    pub(super) fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let roots = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new([NAME.to_owned(), "127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&leaf_key, &issuer)
            .unwrap();
        Self { roots: roots.pem(), certificate: leaf.pem(), key: leaf_key.serialize_pem() }
    }
}

/// The blocks that all nodes of a test have.
pub(super) struct Ledger {
    pub(super) blocks: watch::Sender<Vec<Block>>,
}

impl Ledger {
    /// With a first block.
    pub(super) fn new() -> Arc<Self> {
        let ledger = Arc::new(Self { blocks: watch::Sender::new(Vec::new()) });
        ledger.add(&[], &[]);
        ledger
    }

    /// Adds a block; the codes are the transactions' verdicts.
    pub(super) fn add(&self, transactions: &[Envelope], codes: &[u8]) {
        self.blocks.send_modify(|blocks| {
            let mut metadata = vec![Bytes::new(); 5];
            metadata[BlockMetadataIndex::TransactionsFilter as usize] = Bytes::copy_from_slice(codes);
            let number = blocks.len() as u64;
            let data =
                BlockData { data: transactions.iter().map(|envelope| envelope.encode_to_vec().into()).collect() };
            let previous = blocks.last().and_then(|block| block.header.as_ref()).map(header_hash);
            let previous_hash = previous.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash));
            let data_hash = Bytes::copy_from_slice(&data_hash(&data));
            blocks.push(Block {
                header: Some(BlockHeader { number, previous_hash, data_hash }),
                data: Some(data),
                metadata: Some(BlockMetadata { metadata }),
            });
        });
    }
}

/// What one message asked for.
pub(super) struct Invoked {
    pub(super) chaincode: String,
    pub(super) args: Vec<Bytes>,
}

type Endorse = Box<dyn Fn(&Invoked) -> Result<ProposalResponse, Status> + Send + Sync>;

/// How an orderer takes an envelope.
pub(super) enum Take {
    /// Into a block of its own, with this verdict.
    Order(u8),
    /// The same, but the answer never comes.
    OrderAndHangUp(u8),
    /// It says that it took it and loses it.
    Lose,
    Refuse(FabricStatus),
    /// It heard of it from another orderer.
    Known,
}

/// How a stream of blocks goes wrong.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// It ends after so many blocks.
    CutAfter(usize),
    Refuse(FabricStatus),
    /// It leaves one block out.
    Skip(u64),
}

pub(super) struct Script {
    pub(super) endorse: Endorse,
    pub(super) takes: Mutex<VecDeque<Take>>,
    /// One for each stream that is opened; without one nothing goes wrong.
    pub(super) faults: Mutex<VecDeque<Fault>>,
    /// How its Gateway service goes wrong, one for each call.
    pub(super) gateway: Mutex<VecDeque<GatewayFault>>,
    pub(super) seen: Mutex<Seen>,
    /// How many streams of envelopes were ended by the client.
    pub(super) ended: Arc<AtomicUsize>,
    pub(super) ledger: Arc<Ledger>,
}

/// What a node was sent.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) proposals: usize,
    pub(super) envelopes: Vec<Envelope>,
    pub(super) seeks: Vec<(ChannelHeader, SeekInfo)>,
    /// The organizations that each call of the Gateway service named.
    pub(super) organizations: Vec<Vec<String>>,
}

impl Script {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            endorse: Box::new(|_| Ok(endorsed("peer0", b"result"))),
            takes: Mutex::default(),
            faults: Mutex::default(),
            gateway: Mutex::default(),
            seen: Mutex::default(),
            ended: Arc::default(),
            ledger: Arc::clone(ledger),
        }
    }

    /// `Cancelled` means that the answer never comes.
    pub(super) fn endorsing(
        self,
        endorse: impl Fn(&Invoked) -> Result<ProposalResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        Self { endorse: Box::new(endorse), ..self }
    }

    pub(super) fn taking(self, takes: impl IntoIterator<Item = Take>) -> Self {
        Self { takes: Mutex::new(takes.into_iter().collect()), ..self }
    }

    pub(super) fn failing(self, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { faults: Mutex::new(faults.into_iter().collect()), ..self }
    }

    pub(super) fn failing_as_gateway(self, faults: impl IntoIterator<Item = GatewayFault>) -> Self {
        Self { gateway: Mutex::new(faults.into_iter().collect()), ..self }
    }

    /// Serves it; the address.
    pub(super) async fn serve(self, tls: &Tls, mutual: bool, workers: &Workers) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut config = ServerTlsConfig::new().identity(Identity::from_pem(&tls.certificate, &tls.key));
        if mutual {
            config = config.client_ca_root(Certificate::from_pem(&tls.roots));
        }
        let script = Arc::new(self);
        let served = Arc::clone(&script);
        workers.spawn("scripted node", async move {
            Server::builder()
                .tls_config(config)?
                .add_service(EndorserServer::from_arc(Arc::clone(&served)))
                .add_service(DeliverServer::from_arc(Arc::clone(&served)))
                .add_service(GatewayServer::from_arc(Arc::clone(&served)))
                .add_service(AtomicBroadcastServer::from_arc(served))
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await
        });
        (address, script)
    }

    fn blocks(&self, envelope: &Envelope, filtered: bool) -> BlockAnswers {
        let payload = Payload::decode(envelope.payload.clone()).unwrap();
        let header = ChannelHeader::decode(payload.header.unwrap().channel_header).unwrap();
        let seek = SeekInfo::decode(payload.data).unwrap();
        let fault = self.faults.lock().unwrap().pop_front();
        self.seen.lock().unwrap().seeks.push((header, seek));
        if let Some(Fault::Refuse(status)) = fault {
            let status = DeliverResponse { r#type: Some(Delivered::Status(status.into())) };
            return stream::iter([Ok(status)]).boxed();
        }
        let mut blocks = self.ledger.blocks.subscribe();
        let start = match seek.start.unwrap().r#type.unwrap() {
            Seek::Oldest(_) => 0,
            Seek::Specified(specified) => usize::try_from(specified.number).unwrap(),
            _ => blocks.borrow_and_update().len() - 1,
        };
        let answers = stream::unfold((blocks, start), move |(mut blocks, next)| async move {
            let block = blocks.wait_for(|blocks| blocks.len() > next).await.ok()?[next].clone();
            let answer = if filtered { Delivered::FilteredBlock(filter(&block)) } else { Delivered::Block(block) };
            Some((Ok(DeliverResponse { r#type: Some(answer) }), (blocks, next + 1)))
        });
        match fault {
            Some(Fault::CutAfter(blocks)) => answers.take(blocks).boxed(),
            Some(Fault::Skip(number)) => answers
                .enumerate()
                .filter(move |(at, _)| std::future::ready((start + at) as u64 != number))
                .map(|(_, answer)| answer)
                .boxed(),
            _ => answers.boxed(),
        }
    }
}

type BlockAnswers = Pin<Box<dyn Stream<Item = Result<DeliverResponse, Status>> + Send>>;

fn filter(block: &Block) -> FilteredBlock {
    let codes = &block.metadata.as_ref().unwrap().metadata[BlockMetadataIndex::TransactionsFilter as usize];
    let filtered_transactions = block
        .data
        .iter()
        .flat_map(|data| &data.data)
        .zip(codes)
        .map(|(envelope, code)| FilteredTransaction {
            txid: tx_id(&Envelope::decode(envelope.clone()).unwrap()),
            tx_validation_code: i32::from(*code),
            ..Default::default()
        })
        .collect();
    FilteredBlock { number: block.header.unwrap_number(), filtered_transactions, ..Default::default() }
}

trait Number {
    fn unwrap_number(&self) -> u64;
}

impl Number for Option<BlockHeader> {
    fn unwrap_number(&self) -> u64 {
        self.as_ref().unwrap().number
    }
}

pub(super) fn tx_id(envelope: &Envelope) -> String {
    let payload = Payload::decode(envelope.payload.clone()).unwrap();
    ChannelHeader::decode(payload.header.unwrap().channel_header).unwrap().tx_id
}

/// An endorsement that a client can use.
pub(super) fn endorsed(endorser: &'static str, result: &'static [u8]) -> ProposalResponse {
    ProposalResponse {
        response: Some(ChaincodeResponse { status: 200, payload: result.into(), ..Default::default() }),
        payload: result.into(),
        endorsement: Some(Endorsement { endorser: endorser.into(), signature: "signature".into() }),
        ..Default::default()
    }
}

/// The first block of a channel with these organizations: MSP ID, TLS roots, address of the anchor peer.
pub(super) fn config_block(organizations: &[(&str, &str, &str)]) -> Block {
    use crate::pb::common::{Config, ConfigEnvelope, ConfigGroup, ConfigValue};
    use crate::pb::{msp, protos};
    let value = |message: Vec<u8>| ConfigValue { value: message.into(), ..Default::default() };
    let mut application = ConfigGroup::default();
    for (msp_id, roots, anchor) in organizations {
        let tls_root_certs = vec![Bytes::copy_from_slice(roots.as_bytes())];
        let config = msp::FabricMspConfig { name: (*msp_id).to_owned(), tls_root_certs, ..Default::default() };
        let config = msp::MspConfig { r#type: 0, config: config.encode_to_vec().into() };
        let (host, port) = anchor.split_once(':').unwrap();
        let anchor = protos::AnchorPeer { host: host.to_owned(), port: port.parse().unwrap() };
        let anchors = protos::AnchorPeers { anchor_peers: vec![anchor] };
        let mut group = ConfigGroup::default();
        group.values.insert("MSP".to_owned(), value(config.encode_to_vec()));
        group.values.insert("AnchorPeers".to_owned(), value(anchors.encode_to_vec()));
        application.groups.insert((*msp_id).to_owned(), group);
    }
    let mut channel = ConfigGroup::default();
    channel.groups.insert("Application".to_owned(), application);
    let config = Config { sequence: 0, channel_group: Some(channel) };
    let config = ConfigEnvelope { config: Some(config), last_update: None };
    let payload = Payload { header: Some(Header::default()), data: config.encode_to_vec().into() };
    let envelope = Envelope { payload: payload.encode_to_vec().into(), ..Default::default() };
    let data = BlockData { data: vec![envelope.encode_to_vec().into()] };
    Block { header: Some(BlockHeader::default()), data: Some(data), metadata: None }
}

/// Adds orderers to a channel's first block: they are of its first organization.
pub(super) fn add_orderers(block: &mut Block, consensus: &str, addresses: &[&str]) {
    use crate::pb::common::{ConfigEnvelope, ConfigGroup, ConfigValue, Consenter, OrdererAddresses, Orderers};
    let value = |message: Vec<u8>| ConfigValue { value: message.into(), ..Default::default() };
    let data = &mut block.data.as_mut().unwrap().data[0];
    let mut envelope = Envelope::decode(data.clone()).unwrap();
    let mut payload = Payload::decode(envelope.payload).unwrap();
    let mut config = ConfigEnvelope::decode(payload.data).unwrap();
    let channel = config.config.as_mut().unwrap().channel_group.as_mut().unwrap();
    let mut organization = channel.groups["Application"].groups.values().next().unwrap().clone();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let consenter_mapping = addresses.iter().map(|_| Consenter::default()).collect();
    let endpoints = OrdererAddresses { addresses };
    organization.values.insert("Endpoints".to_owned(), value(endpoints.encode_to_vec()));
    let kind = orderer::ConsensusType { r#type: consensus.to_owned(), ..Default::default() };
    let mut group = ConfigGroup::default();
    group.values.insert("ConsensusType".to_owned(), value(kind.encode_to_vec()));
    group.values.insert("Orderers".to_owned(), value(Orderers { consenter_mapping }.encode_to_vec()));
    group.groups.insert("OrdererOrg".to_owned(), organization);
    channel.groups.insert("Orderer".to_owned(), group);
    payload.data = config.encode_to_vec().into();
    envelope.payload = payload.encode_to_vec().into();
    *data = envelope.encode_to_vec().into();
}

/// A refusal: of the chaincode, or of the peer.
pub(super) fn refused(by_chaincode: bool, message: &str) -> ProposalResponse {
    ProposalResponse {
        response: Some(ChaincodeResponse { status: 500, message: message.to_owned(), ..Default::default() }),
        payload: if by_chaincode { "payload".into() } else { Bytes::new() },
        ..Default::default()
    }
}

/// A transaction with an event.
pub(super) fn with_event(tx_id: &TxId, chaincode: &str, name: &str, payload: Bytes) -> Envelope {
    use crate::pb::protos;
    let event = protos::ChaincodeEvent {
        chaincode_id: chaincode.to_owned(),
        tx_id: tx_id.to_string(),
        event_name: name.to_owned(),
        payload,
    };
    let action = protos::ChaincodeAction { events: event.encode_to_vec().into(), ..Default::default() };
    let response = protos::ProposalResponsePayload { extension: action.encode_to_vec().into(), ..Default::default() };
    let action = protos::ChaincodeActionPayload {
        action: Some(protos::ChaincodeEndorsedAction {
            proposal_response_payload: response.encode_to_vec().into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let action = protos::TransactionAction { payload: action.encode_to_vec().into(), ..Default::default() };
    let transaction = protos::Transaction { actions: vec![action] };
    let header = ChannelHeader {
        r#type: HeaderType::EndorserTransaction.into(),
        tx_id: tx_id.to_string(),
        ..Default::default()
    };
    let header = Header { channel_header: header.encode_to_vec().into(), ..Default::default() };
    let payload = Payload { header: Some(header), data: transaction.encode_to_vec().into() };
    Envelope { payload: payload.encode_to_vec().into(), ..Default::default() }
}

#[async_trait]
impl Endorser for Script {
    async fn process_proposal(&self, request: Request<SignedProposal>) -> Result<Response<ProposalResponse>, Status> {
        let proposal = Proposal::decode(request.into_inner().proposal_bytes).unwrap();
        let payload = ChaincodeProposalPayload::decode(proposal.payload).unwrap();
        let spec = ChaincodeInvocationSpec::decode(payload.input).unwrap().chaincode_spec.unwrap();
        let args = spec.input.unwrap().args;
        let invoked = Invoked { chaincode: spec.chaincode_id.unwrap().name, args };
        if invoked.chaincode == "qscc" && invoked.args[0] == "GetChainInfo" {
            let height = self.ledger.blocks.borrow().len() as u64;
            let info = BlockchainInfo { height, ..Default::default() };
            let response =
                ChaincodeResponse { status: 200, payload: info.encode_to_vec().into(), ..Default::default() };
            return Ok(Response::new(ProposalResponse { response: Some(response), ..Default::default() }));
        }
        self.seen.lock().unwrap().proposals += 1;
        match (self.endorse)(&invoked) {
            Err(status) if status.code() == tonic::Code::Cancelled => std::future::pending().await,
            answer => answer.map(Response::new),
        }
    }
}

#[async_trait]
impl Deliver for Script {
    type DeliverStream = BlockAnswers;
    type DeliverFilteredStream = BlockAnswers;
    type DeliverWithPrivateDataStream = BlockAnswers;

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<BlockAnswers>, Status> {
        let envelope = request.into_inner().message().await?.unwrap();
        Ok(Response::new(self.blocks(&envelope, false)))
    }

    async fn deliver_filtered(&self, request: Request<Streaming<Envelope>>) -> Result<Response<BlockAnswers>, Status> {
        let envelope = request.into_inner().message().await?.unwrap();
        Ok(Response::new(self.blocks(&envelope, true)))
    }

    async fn deliver_with_private_data(
        &self,
        _: Request<Streaming<Envelope>>,
    ) -> Result<Response<BlockAnswers>, Status> {
        Err(Status::unimplemented("not in this script"))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl AtomicBroadcast for Script {
    type BroadcastStream = Answers<BroadcastResponse>;
    type DeliverStream = Answers<orderer::DeliverResponse>;

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        let mut envelopes = request.into_inner();
        let envelope = envelopes.message().await?.unwrap();
        self.seen.lock().unwrap().envelopes.push(envelope.clone());
        let mut info = String::new();
        let take = self.takes.lock().unwrap().pop_front().unwrap_or(Take::Order(0));
        let status = match take {
            Take::Order(code) => {
                self.ledger.add(&[envelope], &[code]);
                FabricStatus::Success
            }
            Take::OrderAndHangUp(code) => {
                self.ledger.add(&[envelope], &[code]);
                return Ok(Response::new(stream::empty().boxed()));
            }
            Take::Lose => FabricStatus::Success,
            Take::Refuse(status) => status,
            Take::Known => {
                info.push_str("failed to submit request: request already exists");
                FabricStatus::ServiceUnavailable
            }
        };
        let answer = BroadcastResponse { status: status.into(), info };
        let ended = Arc::clone(&self.ended);
        // Like Fabric: it is up to the client to end the stream.
        let rest = stream::once(async move {
            if matches!(envelopes.message().await, Ok(None)) {
                ended.fetch_add(1, Ordering::SeqCst);
            }
        });
        let rest = rest.filter_map(|()| std::future::ready(None));
        Ok(Response::new(stream::iter([Ok(answer)]).chain(rest).boxed()))
    }

    async fn deliver(&self, _: Request<Streaming<Envelope>>) -> Result<Response<Self::DeliverStream>, Status> {
        Err(Status::unimplemented("not in this script"))
    }
}
