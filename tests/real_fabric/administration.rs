//! Orderers' channels by channel participation: what the client's answer to `osnadmin` does with real orderers.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opssc::client::channels::Joined;
use opssc::client::net::{ClientTls, Endpoint, Tls};
use opssc::client::participation::{BlockId, ChannelStatus, ConsensusRelation, OrdererAdmin, ParticipationError};
use opssc::fabric::identity::{Signer as _, SigningIdentity};
use opssc::fabric::names::MspId;
use opssc::fabric::tx::{Header, Nonce, envelope};
use opssc::pb::common::{
    Config, ConfigEnvelope, ConfigGroup, ConfigSignature, ConfigUpdate, ConfigUpdateEnvelope, ConfigValue, Envelope,
    HeaderType, Payload, SignatureHeader,
};
use opssc::pb::orderer::BatchTimeout;
use prost::Message as _;

use crate::consortium::channel_name;
use crate::network::{Binaries, Network, Options, Organization};

const FIRST: &str = "mychannel";
const SECOND: &str = "another.channel";

/// How long an orderer may take for what it does after it has answered.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(test: &str) {
    let Some(binaries) = Binaries::from_environment(test) else { return };
    let network = Network::start(&binaries, Options { channels: vec![FIRST.to_owned()], ..Options::default() });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(manage(&network));
    if binaries.have_3(test, "blocks and updates by the administration") {
        runtime.block_on(update(&network));
    }
}

/// The administration of an organization's orderer, with the TLS certificate of `client`'s administrator, if any.
fn admin(organization: &Organization, client: Option<&Organization>) -> OrdererAdmin {
    let orderer = organization.orderer();
    let read = |path| fs::read(path).expect("a file of PEM");
    let client = client.map(|client| {
        let pair = ClientTls::new(read(client.admin_tls_certificate()), read(client.admin_tls_key()));
        Arc::new(pair.expect("a TLS certificate and its key"))
    });
    let endpoint = Endpoint {
        address: orderer.admin.to_string(),
        tls: Some(Tls { roots: read(organization.tls_ca()).into(), client }),
        server_name: Some(orderer.name.clone()),
    };
    OrdererAdmin::new(orderer.name.clone(), &endpoint).expect("an endpoint")
}

async fn manage(network: &Network) {
    let [org1, org2] = network.organizations() else { panic!("two organizations") };
    let orderer = admin(org1, Some(org1));
    let (first, second) = (channel_name(FIRST), channel_name(SECOND));
    let genesis = network.make_genesis_block(SECOND);

    for stranger in [None, Some(org2)] {
        let refused = admin(org1, stranger).channels().await.expect_err("no certificate of the orderer's organization");
        let refused_by_tls =
            matches!(refused, ParticipationError::Unreached { .. } | ParticipationError::Broken { .. });
        assert!(refused_by_tls, "{refused:?}");
    }

    let list = orderer.channels().await.expect("a list of channels");
    assert_eq!((list.system_channel, list.channels), (None, vec![first.clone()]));
    let part = orderer.channel(&first).await.expect("an answer").expect("it takes part");
    assert_eq!((part.relation, part.status), (ConsensusRelation::Consenter, ChannelStatus::Active));
    assert_eq!(orderer.channel(&second).await.expect("an answer"), None);

    let unfit = orderer.join(&first, genesis.clone()).await.expect_err("a block of another channel");
    assert!(matches!(unfit, ParticipationError::Unfit { .. }), "{unfit}");
    let joined = orderer.join(&second, genesis.clone()).await.expect("the orderer joins");
    assert_eq!((joined.channel, joined.relation), (second.clone(), ConsensusRelation::Consenter));
    let again = orderer.join(&second, genesis.clone()).await.expect_err("it has joined");
    assert!(matches!(&again, ParticipationError::AlreadyJoined { .. }), "{again:?}");
    let (done, part) = orderer.ensure_joined(&second, genesis.clone()).await.expect("it has joined");
    assert_eq!((done, part.height), (Joined::Already, 1));
    let list = orderer.channels().await.expect("a list of channels").channels;
    assert!(list.len() == 2 && list.contains(&second), "{list:?}");

    let broken = orderer.join(&second, genesis[..genesis.len() - 1].to_vec()).await.expect_err("half a block");
    assert!(matches!(broken, ParticipationError::Unfit { .. }), "{broken:?}");

    orderer.remove(&second).await.expect("the orderer leaves");
    let begin = Instant::now();
    while let Some(part) = orderer.channel(&second).await.expect("an answer") {
        assert_eq!(part.status, ChannelStatus::Inactive, "it drops the blocks");
        assert!(begin.elapsed() < PATIENCE, "{part:?}");
    }
    let gone = orderer.remove(&second).await.expect_err("it is in no such channel");
    assert!(matches!(gone, ParticipationError::NotFound { .. }), "{gone:?}");
    let (done, _) = orderer.ensure_joined(&second, genesis).await.expect("the orderer joins anew");
    assert_eq!(done, Joined::New);

    let absent = orderer.fetch(&first, BlockId::Number(99)).await.expect_err("no such block, or no such question");
    assert!(matches!(absent, ParticipationError::NotFound { .. }), "{absent:?}");
}

/// Blocks as orderers since 3.1.2 give them, and an update of the configuration.
async fn update(network: &Network) {
    let [org1, org2] = network.organizations() else { panic!("two organizations") };
    let orderer = admin(org1, Some(org1));
    let channel = channel_name(FIRST);
    let genesis = orderer.fetch(&channel, BlockId::Oldest).await.expect("the first block");
    assert_eq!(genesis.header.as_ref().map(|header| header.number), Some(0));
    let config = orderer.fetch(&channel, BlockId::Config).await.expect("the configuration");
    assert_eq!(config, genesis, "nothing was configured anew");
    let newest = orderer.fetch(&channel, BlockId::Newest).await.expect("the newest block");
    assert_eq!(newest, genesis);

    let signers = [org1, org2].map(|organization| {
        let msp_id = MspId::parse(&organization.msp_id).expect("an MSP ID");
        SigningIdentity::load_msp(msp_id, &organization.admin_msp()).expect("the administrator")
    });
    let envelope = another_timeout(&current(&config), &signers).await.encode_to_vec();
    let stranger = orderer.update(&channel_name("nowhere"), envelope.clone()).await.expect_err("of another channel");
    assert!(matches!(stranger, ParticipationError::Unfit { .. }), "{stranger:?}");
    let part = orderer.update(&channel, envelope.clone()).await.expect("an update");
    assert_eq!(part.channel, channel);
    let begin = Instant::now();
    let block = loop {
        match orderer.fetch(&channel, BlockId::Number(1)).await {
            Ok(block) => break block,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
        }
    };
    let timeout = &current(&block).channel_group.expect("a configuration").groups["Orderer"].values["BatchTimeout"];
    let timeout = BatchTimeout::decode(timeout.value.clone()).expect("a timeout");
    assert_eq!(timeout.timeout, "150ms");
    let stale = orderer.update(&channel, envelope).await.expect_err("an update of what is past");
    assert!(matches!(stale, ParticipationError::Refused { status: 400, .. }), "{stale:?}");
}

fn current(block: &opssc::pb::common::Block) -> Config {
    let data = block.data.as_ref().expect("data").data[0].clone();
    let payload = Payload::decode(Envelope::decode(data).expect("an envelope").payload).expect("a payload");
    ConfigEnvelope::decode(payload.data).expect("a configuration").config.expect("a configuration")
}

/// An update of the batch timeout, signed by all administrators.
async fn another_timeout(config: &Config, signers: &[SigningIdentity]) -> Envelope {
    let root = config.channel_group.as_ref().expect("a configuration");
    let orderer = &root.groups["Orderer"];
    let timeout = &orderer.values["BatchTimeout"];
    let group = |values| ConfigGroup {
        version: root.version,
        groups: [("Orderer".to_owned(), ConfigGroup { version: orderer.version, values, ..Default::default() })].into(),
        ..Default::default()
    };
    let changed = ConfigValue {
        version: timeout.version + 1,
        value: BatchTimeout { timeout: "150ms".to_owned() }.encode_to_vec().into(),
        mod_policy: timeout.mod_policy.clone(),
    };
    let update = ConfigUpdate {
        channel_id: FIRST.to_owned(),
        read_set: Some(group([].into())),
        write_set: Some(group([("BatchTimeout".to_owned(), changed)].into())),
        ..Default::default()
    };
    let update = update.encode_to_vec();
    let mut signatures = Vec::new();
    for (number, signer) in (1..).zip(signers) {
        let header = SignatureHeader { creator: signer.creator().clone(), nonce: vec![number; 24].into() };
        let header = header.encode_to_vec();
        let message = [header.as_slice(), &update].concat();
        let signature = opssc::fabric::identity::Signer::sign(signer, &message).await.expect("a signature");
        signatures.push(ConfigSignature { signature_header: header.into(), signature });
    }
    let data = ConfigUpdateEnvelope { config_update: update.into(), signatures }.encode_to_vec();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    let header = Header {
        header_type: HeaderType::ConfigUpdate,
        channel: Some(&channel_name(FIRST)),
        creator: signers[0].creator(),
        nonce: Nonce([7; 24]),
        time: prost_types::Timestamp { seconds: i64::try_from(since.as_secs()).expect("a time that fits"), nanos: 0 },
        tls_cert_hash: None,
    };
    envelope(&header, data.into()).sign(&signers[0]).await.expect("a signature")
}
