//! Two organizations with a peer each, on two channels, without a network between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message as _;
use tonic::{Request, Status, async_trait};

use crate::chaincode::Contract;
use crate::devnet::crypto::{NodeKind, OrganizationCrypto};
use crate::devnet::genesis;
use crate::devnet::ledger::{Ledger, PrivateStore};
use crate::devnet::peer::endorser::Endorsing;
use crate::devnet::peer::{Contracts, Hosts, Member, Peer, Topology, native_package};
use crate::fabric::block::{ValidationCode, data_hash, header_hash};
use crate::fabric::config::BatchLimits;
use crate::fabric::identity::{Msp, MspFolder, MspVersion, Signer as _, SigningIdentity};
use crate::fabric::lifecycle::{ChaincodeDefinition, install_args};
use crate::fabric::names::{ChaincodeName, ChannelName, Label, MspId, PackageId, TxId};
use crate::fabric::package::Package;
use crate::fabric::tx::{Invocation, Nonce, Proposal};
use crate::pb::common::{Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, HeaderType, Payload};
use crate::pb::lifecycle::InstallChaincodeResult;
use crate::pb::orderer::BroadcastResponse;
use crate::pb::protos::endorser_server::Endorser as _;
use crate::pb::protos::{ProposalResponse, Response, SignedProposal};
use crate::runtime::Workers;

pub(super) const CHANNEL: &str = "ops";
pub(super) const OTHER_CHANNEL: &str = "other";
/// Where no orderer listens.
pub(super) const DEAD_ORDERER: &str = "localhost:7050";

/// An organization with its peer.
pub(super) struct Side {
    pub(super) admin: SigningIdentity,
    pub(super) user: SigningIdentity,
    pub(super) peer: Arc<Peer>,
}

/// Both organizations.
pub(super) struct Net {
    pub(super) sides: Vec<Side>,
    pub(super) contracts: Arc<Contracts>,
    pub(super) hosts: Arc<Hosts>,
    pub(super) workers: Workers,
    nonces: AtomicU64,
    /// Held while a block is made.
    ordering: Mutex<()>,
}

pub(super) fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn channel_name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

/// The network, with the peers in both channels.
pub(super) fn net() -> Net {
    let folder = tempfile::tempdir().unwrap();
    let (contracts, hosts, private) = (Arc::<Contracts>::default(), Arc::<Hosts>::default(), Arc::default());
    let workers = Workers::new();
    let (mut sides, mut members) = (Vec::new(), Vec::new());
    for number in 1..=2_u16 {
        let crypto = OrganizationCrypto::generate(folder.path(), &format!("org{number}.example.com")).unwrap();
        let msp_id = MspId::parse(format!("Org{number}MSP")).unwrap();
        let user = |name: &str, unit: &str| {
            let folder = crypto.add_user(name, unit).unwrap();
            SigningIdentity::load_msp(msp_id.clone(), &folder.join("msp")).unwrap()
        };
        let node = crypto.add_node(NodeKind::Peer, "peer0").unwrap();
        let signer =
            SigningIdentity::from_pem(msp_id.clone(), node.certificate_pem.as_bytes(), node.key.pem().as_bytes());
        let msp = MspFolder::load(&msp_id, &crypto.msp_folder()).unwrap();
        let local = Msp::from_config(&msp.to_config(), MspVersion::V1_4_3).unwrap();
        let peer = Peer::new(
            format!("peer0.org{number}.example.com"),
            msp_id.clone(),
            local,
            Arc::new(signer.unwrap()),
            Arc::clone(&contracts),
            Arc::clone(&hosts),
            Arc::<PrivateStore>::clone(&private),
            workers.clone(),
        );
        sides.push(Side { admin: user("Admin", "admin"), user: user("User1", "client"), peer });
        let orderer = genesis::Orderer {
            host: "localhost".to_owned(),
            port: 6950 + 100 * number,
            certificate_pem: node.certificate_pem.clone(),
            tls_certificate_pem: node.tls_certificate_pem.clone(),
        };
        let anchor = ("localhost".to_owned(), 7051);
        members.push(genesis::Member { msp_id, msp, anchor, orderers: vec![orderer] });
    }
    for name in [CHANNEL, OTHER_CHANNEL] {
        let timeout = Duration::from_secs(1);
        let batch = BatchLimits { max_messages: 1, absolute_max_bytes: 1, preferred_max_bytes: 1, timeout };
        let block = genesis::block(&channel_name(name), &members, &batch, Nonce([0; 24]));
        for side in &sides {
            side.peer.join(block.clone()).unwrap();
        }
    }
    Net { sides, contracts, hosts, workers, nonces: AtomicU64::new(1), ordering: Mutex::default() }
}

impl Net {
    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.nonces.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Nonce(nonce)
    }

    /// `invocation` as proposed by `signer` on `channel` (empty: on none).
    pub(super) fn proposal(&self, channel: &str, invocation: &Invocation, signer: &SigningIdentity) -> Proposal {
        let channel = (!channel.is_empty()).then(|| channel_name(channel));
        let (creator, now) = (signer.creator(), SystemTime::now().into());
        Proposal::new(channel.as_ref(), invocation, creator, self.nonce(), now, HeaderType::EndorserTransaction)
    }

    /// What `side`'s peer says to a proposal of its own admin.
    pub(super) async fn ask(&self, side: usize, channel: &str, invocation: &Invocation) -> Response {
        let Side { admin, peer, .. } = &self.sides[side];
        let response = process(peer, sign(&self.proposal(channel, invocation, admin), admin)).await.unwrap();
        response.response.unwrap()
    }

    /// Lets the peers of `endorsers` endorse what the admin of the first of them proposes, and commits it.
    pub(super) async fn submit(
        &self,
        endorsers: &[usize],
        invocation: &Invocation,
    ) -> Result<(TxId, ValidationCode), Response> {
        let admin = &self.sides[endorsers[0]].admin;
        let proposal = self.proposal(CHANNEL, invocation, admin);
        let mut responses = Vec::new();
        for side in endorsers {
            let response = process(&self.sides[*side].peer, sign(&proposal, admin)).await.unwrap();
            if response.endorsement.is_none() {
                return Err(response.response.unwrap());
            }
            responses.push(response);
        }
        let envelope = proposal.assemble(&responses).unwrap().sign(admin).await.unwrap();
        let code = self.commit(CHANNEL, envelope.encode_to_vec().into(), proposal.tx_id()).await;
        Ok((proposal.tx_id().clone(), code))
    }

    /// Commits a block with `envelope` at both peers.
    async fn commit(&self, channel: &str, envelope: Bytes, tx_id: &TxId) -> ValidationCode {
        let ledgers: Vec<_> = (0..self.sides.len()).map(|side| self.ledger(side, channel)).collect();
        let block = {
            let _one_at_a_time = self.ordering.lock().unwrap();
            let last = ledgers[0].blocks().last();
            let previous = last.header.as_ref().unwrap();
            let data = BlockData { data: vec![envelope] };
            let header = BlockHeader {
                number: previous.number + 1,
                previous_hash: header_hash(previous).to_vec().into(),
                data_hash: data_hash(&data).to_vec().into(),
            };
            let metadata = BlockMetadata { metadata: vec![Bytes::new(); 5] };
            Block { header: Some(header), data: Some(data), metadata: Some(metadata) }
        };
        for ledger in &ledgers {
            ledger.commit(block.clone()).await.unwrap();
        }
        ledgers[0].place(tx_id).unwrap().code
    }

    pub(super) fn ledger(&self, side: usize, channel: &str) -> Arc<Ledger> {
        self.sides[side].peer.ledger(&channel_name(channel)).unwrap()
    }

    /// Installs `package` at `side`'s peer.
    pub(super) async fn install(&self, side: usize, package: &Package) -> PackageId {
        let invocation = Invocation::lifecycle("InstallChaincode", &install_args(package.bytes().clone()));
        let response = self.ask(side, "", &invocation).await;
        assert_eq!(response.status, 200, "{}", response.message);
        let result = InstallChaincodeResult::decode(response.payload).unwrap();
        PackageId::parse(result.package_id).unwrap()
    }

    /// Approves at each side what it has installed, and commits the definition.
    pub(super) async fn define(&self, definition: &ChaincodeDefinition, packages: [Option<&PackageId>; 2]) {
        for (side, package) in packages.into_iter().enumerate() {
            let arguments = definition.approve_args(package);
            let invocation = Invocation::lifecycle("ApproveChaincodeDefinitionForMyOrg", &arguments);
            assert!(self.submit(&[side], &invocation).await.unwrap().1.is_valid());
        }
        let invocation = Invocation::lifecycle("CommitChaincodeDefinition", &definition.commit_args());
        assert!(self.submit(&[0, 1], &invocation).await.unwrap().1.is_valid());
    }

    /// Puts `contract` on the channel as the chaincode `name`, at both peers.
    pub(super) async fn deploy(&self, name: &str, contract: Arc<dyn Contract>) {
        let chaincode = ChaincodeName::parse(name).unwrap();
        self.contracts.insert(chaincode.clone(), contract);
        let package = native_package(&label(name), &chaincode).unwrap();
        for side in 0..2 {
            self.install(side, &package).await;
        }
        let definition = ChaincodeDefinition::new(chaincode, "1.0", 1);
        self.define(&definition, [Some(package.id()), Some(package.id())]).await;
    }
}

#[async_trait]
impl Topology for Net {
    fn members(&self) -> Vec<Member> {
        let member = |(at, side): (usize, &Side)| Member {
            peer: Arc::clone(&side.peer),
            endpoint: format!("localhost:{}", 7051 + at),
        };
        self.sides.iter().enumerate().map(member).collect()
    }

    /// Orders and commits at once.
    async fn broadcast(&self, address: &str, envelope: Envelope) -> Result<BroadcastResponse, Status> {
        if address == DEAD_ORDERER {
            return Err(Status::unavailable("nobody listens"));
        }
        let (channel, tx_id) = header(&envelope);
        self.commit(&channel, envelope.encode_to_vec().into(), &tx_id).await;
        Ok(BroadcastResponse { status: 200, info: String::new() })
    }
}

/// The channel and the transaction of an envelope.
fn header(envelope: &Envelope) -> (String, TxId) {
    let payload = Payload::decode(envelope.payload.clone()).unwrap();
    let header = ChannelHeader::decode(payload.header.unwrap().channel_header).unwrap();
    (header.channel_id, TxId::parse(header.tx_id).unwrap())
}

pub(super) fn sign(proposal: &Proposal, signer: &SigningIdentity) -> SignedProposal {
    let proposal_bytes = proposal.bytes().clone();
    let signature = signer.sign_now(&proposal_bytes);
    SignedProposal { proposal_bytes, signature }
}

/// What `peer` says to `proposal`.
pub(super) async fn process(peer: &Arc<Peer>, proposal: SignedProposal) -> Result<ProposalResponse, Status> {
    let endorser = Endorsing(Arc::clone(peer));
    endorser.process_proposal(Request::new(proposal)).await.map(tonic::Response::into_inner)
}
