//! Organizations with keys, transactions that they endorse, and blocks of these.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use crate::devnet::crypto::{NodeKind, OrganizationCrypto};
use crate::devnet::genesis::{self, Member};
use crate::devnet::ledger::{Ledger, PrivateStore, Results, Simulation};
use crate::devnet::lifecycle;
use crate::devnet::lifecycle::state::{Definition, LIFECYCLE, NAMESPACES};
use crate::fabric::block::{ValidationCode, data_hash, header_hash};
use crate::fabric::config::BatchLimits;
use crate::fabric::identity::{MspFolder, Signer as _, SigningIdentity};
use crate::fabric::names::{ChannelName, MspId, TxId};
use crate::fabric::policy::ApplicationPolicy;
use crate::fabric::tx::{Invocation, Nonce, Proposal};
use crate::pb::common::{self, BlockData, BlockHeader, BlockMetadata, HeaderType};
use crate::pb::protos::{self, CollectionConfigPackage};

/// One organization: who endorses, who proposes.
pub(super) struct Organization {
    pub(super) peer: SigningIdentity,
    pub(super) client: SigningIdentity,
    msp: MspFolder,
}

impl Organization {
    fn generate(crypto: &Path, msp_id: &str) -> Self {
        let domain = format!("{}.example.com", msp_id.to_lowercase());
        let organization = OrganizationCrypto::generate(crypto, &domain).unwrap();
        let msp_id = MspId::parse(msp_id).unwrap();
        let client = organization.add_user("User1", "client").unwrap();
        let peer = organization.add_node(NodeKind::Peer, "peer0").unwrap();
        Self {
            peer: SigningIdentity::from_pem(msp_id.clone(), peer.certificate_pem.as_bytes(), peer.key.pem().as_bytes())
                .unwrap(),
            msp: MspFolder::load(&msp_id, &organization.msp_folder()).unwrap(),
            client: SigningIdentity::load_msp(msp_id, &client.join("msp")).unwrap(),
        }
    }
}

/// Made once: keys take longer than ledgers.
static ORGANIZATIONS: LazyLock<Vec<Organization>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    ["Org1MSP", "Org2MSP"].iter().map(|msp_id| Organization::generate(folder.path(), msp_id)).collect()
});

/// Two organizations on one channel, and a ledger of a peer of each.
pub(super) struct Kit {
    pub(super) organizations: &'static [Organization],
    pub(super) ledgers: Vec<Ledger>,
    pub(super) private: Arc<PrivateStore>,
    next: std::cell::Cell<u64>,
}

pub(super) const CHANNEL: &str = "ch";

impl Kit {
    pub(super) fn new() -> Self {
        let organizations = ORGANIZATIONS.as_slice();
        let private = Arc::new(PrivateStore::default());
        let genesis = genesis(organizations);
        let ledgers = organizations
            .iter()
            .map(|organization| {
                let own_org = organization.peer.msp_id().clone();
                Ledger::create(genesis.clone(), Arc::clone(&private), own_org).unwrap()
            })
            .collect();
        Self { organizations, ledgers, private, next: std::cell::Cell::new(0) }
    }

    /// With the chaincode `cc` under the channel's default policy.
    pub(super) fn with_chaincode() -> Self {
        let kit = Self::new();
        kit.define("cc", &reference("/Channel/Application/Endorsement"), CollectionConfigPackage::default());
        kit
    }

    /// Commits the definition of a chaincode.
    pub(super) fn define(&self, chaincode: &str, policy: &ApplicationPolicy, collections: CollectionConfigPackage) {
        let mut definition = Definition { sequence: 1, ..Definition::default() };
        definition.parameters.endorsement.version = "1".to_owned();
        definition.parameters.validation.validation_plugin = "vscc".to_owned();
        definition.parameters.validation.validation_parameter = policy.encode();
        definition.parameters.collections = collections;
        let mut simulation = self.ledger().simulate();
        let mut keys = LifecycleKeys(&mut simulation);
        lifecycle::state::write(&mut keys, NAMESPACES, chaincode, &definition).unwrap();
        let transaction = self.endorsed(LIFECYCLE, simulation.finish());
        assert_eq!(self.commit(vec![transaction.envelope]), [ValidationCode::Valid]);
        assert_eq!(self.ledger().definition(chaincode), Some(definition));
    }

    /// The ledger of the first organization's peer.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledgers[0]
    }

    /// What the first organization's client proposes and the peers of all organizations endorse.
    pub(super) fn endorsed(&self, chaincode: &str, results: Results) -> Endorsed {
        self.endorsed_by(chaincode, results, &self.organizations.iter().map(|org| &org.peer).collect::<Vec<_>>())
    }

    pub(super) fn endorsed_by(&self, chaincode: &str, results: Results, endorsers: &[&SigningIdentity]) -> Endorsed {
        let client = &self.organizations[0].client;
        self.next.set(self.next.get() + 1);
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.next.get().to_be_bytes());
        let proposal = Proposal::new(
            Some(&ChannelName::parse(CHANNEL).unwrap()),
            &Invocation::new(chaincode, "f"),
            client.creator(),
            Nonce(nonce),
            prost_types::Timestamp::default(),
            HeaderType::EndorserTransaction,
        );
        let action = protos::ChaincodeAction {
            results: results.public,
            events: Bytes::new(),
            response: Some(protos::Response { status: 200, ..protos::Response::default() }),
            chaincode_id: Some(protos::ChaincodeId {
                name: chaincode.to_owned(),
                version: "1".to_owned(),
                ..protos::ChaincodeId::default()
            }),
        };
        let payload = protos::ProposalResponsePayload {
            proposal_hash: proposal.hash().to_vec().into(),
            extension: action.encode_to_vec().into(),
        };
        let payload = Bytes::from(payload.encode_to_vec());
        let responses: Vec<_> = endorsers
            .iter()
            .map(|endorser| protos::ProposalResponse {
                response: Some(protos::Response { status: 200, ..protos::Response::default() }),
                payload: payload.clone(),
                endorsement: Some(protos::Endorsement {
                    endorser: endorser.creator().clone(),
                    signature: endorser.sign_now(&[payload.as_ref(), endorser.creator()].concat()),
                }),
                ..protos::ProposalResponse::default()
            })
            .collect();
        let unsigned = proposal.assemble(&responses).unwrap();
        let envelope =
            common::Envelope { payload: unsigned.payload().clone(), signature: client.sign_now(unsigned.payload()) };
        if let Some(set) = results.private {
            self.private.put(proposal.tx_id().clone(), set).unwrap();
        }
        Endorsed { tx_id: proposal.tx_id().clone(), envelope: envelope.encode_to_vec().into() }
    }

    /// Commits the envelopes in one block on all ledgers, and tells the codes, on which all must agree.
    pub(super) fn commit(&self, envelopes: Vec<Bytes>) -> Vec<ValidationCode> {
        let block = next_block(self.ledger(), envelopes);
        let codes: Vec<_> = self
            .ledgers
            .iter()
            .map(|ledger| {
                run(ledger.commit(block.clone())).unwrap();
                codes(&ledger.block(block.header.as_ref().unwrap().number).unwrap())
            })
            .collect();
        assert!(codes.windows(2).all(|pair| pair[0] == pair[1]), "peers disagree: {codes:?}");
        codes.into_iter().next().unwrap()
    }
}

/// The public keys of `_lifecycle`.
pub(super) struct LifecycleKeys<'a>(pub(super) &'a mut Simulation);

impl lifecycle::state::Read for LifecycleKeys<'_> {
    fn get(&mut self, key: &str) -> Option<Bytes> {
        self.0.get(LIFECYCLE, key)
    }
}

impl lifecycle::state::Write for LifecycleKeys<'_> {
    fn put(&mut self, key: &str, value: Option<Bytes>) -> Result<(), String> {
        let written = match value {
            Some(value) => self.0.put(LIFECYCLE, key, value),
            None => self.0.delete(LIFECYCLE, key),
        };
        written.map_err(|error| error.to_string())
    }
}

/// The policy of the channel at `path`.
pub(super) fn reference(path: &str) -> ApplicationPolicy {
    ApplicationPolicy::ChannelReference(path.to_owned())
}

/// A transaction, ready to be ordered.
pub(super) struct Endorsed {
    pub(super) tx_id: TxId,
    pub(super) envelope: Bytes,
}

/// Runs a future that waits for nothing but its turn.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(super) fn codes(block: &common::Block) -> Vec<ValidationCode> {
    block.metadata.as_ref().unwrap().metadata[2].iter().map(|code| ValidationCode::from(*code)).collect()
}

/// The block that may come next on `ledger`.
pub(super) fn next_block(ledger: &Ledger, envelopes: Vec<Bytes>) -> common::Block {
    let last = ledger.block(ledger.height() - 1).unwrap();
    block(ledger.height(), header_hash(last.header.as_ref().unwrap()).to_vec().into(), envelopes)
}

fn block(number: u64, previous_hash: Bytes, envelopes: Vec<Bytes>) -> common::Block {
    let data = BlockData { data: envelopes };
    let data_hash = data_hash(&data).to_vec().into();
    common::Block {
        header: Some(BlockHeader { number, previous_hash, data_hash }),
        data: Some(data),
        metadata: Some(BlockMetadata::default()),
    }
}

fn genesis(organizations: &[Organization]) -> common::Block {
    let members: Vec<_> = organizations
        .iter()
        .map(|organization| Member {
            msp_id: organization.peer.msp_id().clone(),
            msp: organization.msp.clone(),
            anchor: ("peer0".to_owned(), 7051),
            orderers: Vec::new(),
        })
        .collect();
    let batch = BatchLimits {
        max_messages: 10,
        absolute_max_bytes: 1 << 20,
        preferred_max_bytes: 1 << 19,
        timeout: Duration::from_secs(2),
    };
    genesis::block(&ChannelName::parse(CHANNEL).unwrap(), &members, &batch, Nonce([1; 24]))
}

/// A small language for simulations: `r k`, `w k v`, `d k`, `q start end` (whole range), `f start end` (its first
/// entry).
pub(super) fn simulate(ledger: &Ledger, script: &str) -> Results {
    let mut simulation = ledger.simulate();
    for step in script.split(';').map(str::trim).filter(|step| !step.is_empty()) {
        play(&mut simulation, step);
    }
    simulation.finish()
}

fn play(simulation: &mut Simulation, step: &str) {
    let words: Vec<&str> = step.split_whitespace().collect();
    match words[..] {
        ["r", key] => drop(simulation.get("cc", key)),
        ["w", key, value] => simulation.put("cc", key, Bytes::from(value.to_owned())).unwrap(),
        ["d", key] => simulation.delete("cc", key).unwrap(),
        ["q", start, end] => drop(simulation.range("cc", start, end)),
        ["f", start, end] => {
            let id = simulation.open_range("cc", start, end);
            simulation.next_of_range(id).unwrap();
        }
        _ => panic!("unknown step {step}"),
    }
}
