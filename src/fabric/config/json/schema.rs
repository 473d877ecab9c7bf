//! The messages of blocks and configurations by name and field: what the JSON form is made from.
//!
//! A module of its own because it is a table. Every field of these messages is here, in the order of numbers; a test
//! holds the table to Fabric's own descriptors.
//!
//! Source: `fabric-protos`; for what is nested in bytes, fabric-config's `protolator/protoext`.

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) shape: Shape,
    pub(super) kind: Kind,
}

/// How often a field is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    Many,
    /// From text to messages or bytes.
    Map,
    /// One of several, of which none need be there.
    Choice,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 32 bits, a number in JSON; signed or not.
    Small {
        signed: bool,
    },
    /// 64 bits, text in JSON.
    Large,
    Bool,
    Text,
    Bytes,
    Time,
    Enum(&'static str),
    Message(&'static str),
    /// A message in bytes.
    Nested(&'static str),
    /// A message in bytes, of a type that depends on what stands beside it.
    Variable,
}

impl Kind {
    /// Whether it is a number on the wire.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Small { .. } | Self::Large | Self::Bool | Self::Enum(_))
    }
}

/// `name=number:type`. `*` many, `%` map, `|` choice; `>` message, `#` enumeration, `@` message in bytes.
const MESSAGES: &[&str] = &[
    "common.Block header=1:>common.BlockHeader data=2:>common.BlockData metadata=3:>common.BlockMetadata",
    "common.BlockHeader number=1:u64 previous_hash=2:bytes data_hash=3:bytes",
    "common.BlockData data=1:*@common.Envelope",
    "common.BlockMetadata metadata=1:*bytes",
    "common.Envelope payload=1:@common.Payload signature=2:bytes",
    "common.Payload header=1:>common.Header data=2:@?",
    "common.Header channel_header=1:@common.ChannelHeader signature_header=2:@common.SignatureHeader",
    "common.ChannelHeader type=1:i32 version=2:i32 timestamp=3:time channel_id=4:str tx_id=5:str epoch=6:u64 \
     extension=7:@? tls_cert_hash=8:bytes",
    "common.SignatureHeader creator=1:@msp.SerializedIdentity nonce=2:bytes",
    "common.ConfigEnvelope config=1:>common.Config last_update=2:>common.Envelope",
    "common.Config sequence=1:u64 channel_group=2:>common.ConfigGroup/Channel",
    "common.ConfigGroup version=1:u64 groups=2:%>common.ConfigGroup values=3:%>common.ConfigValue \
     policies=4:%>common.ConfigPolicy mod_policy=5:str",
    "common.ConfigValue version=1:u64 value=2:@? mod_policy=3:str",
    "common.ConfigPolicy version=1:u64 policy=2:>common.Policy mod_policy=3:str",
    "common.Policy type=1:i32 value=2:@?",
    "common.ConfigUpdate channel_id=1:str read_set=2:>common.ConfigGroup/Channel \
     write_set=3:>common.ConfigGroup/Channel isolated_data=5:%bytes",
    "common.ConfigUpdateEnvelope config_update=1:@common.ConfigUpdate signatures=2:*>common.ConfigSignature",
    "common.ConfigSignature signature_header=1:@common.SignatureHeader signature=2:bytes",
    "common.SignaturePolicyEnvelope version=1:i32 rule=2:>common.SignaturePolicy identities=3:*>common.MSPPrincipal",
    "common.SignaturePolicy signed_by=1:|i32 n_out_of=2:|>common.SignaturePolicy.NOutOf",
    "common.SignaturePolicy.NOutOf n=1:i32 rules=2:*>common.SignaturePolicy",
    "common.ImplicitMetaPolicy sub_policy=1:str rule=2:#common.ImplicitMetaPolicy.Rule",
    "common.MSPPrincipal principal_classification=1:#common.MSPPrincipal.Classification principal=2:@?",
    "common.MSPRole msp_identifier=1:str role=2:#common.MSPRole.MSPRoleType",
    "common.OrganizationUnit msp_identifier=1:str organizational_unit_identifier=2:str certifiers_identifier=3:bytes",
    "common.HashingAlgorithm name=1:str",
    "common.BlockDataHashingStructure width=1:u32",
    "common.OrdererAddresses addresses=1:*str",
    "common.Consortium name=1:str",
    "common.Capabilities capabilities=1:%>common.Capability",
    "common.Capability",
    "common.Orderers consenter_mapping=1:*>common.Consenter",
    "common.Consenter id=1:u32 host=2:str port=3:u32 msp_id=4:str identity=5:bytes client_tls_cert=6:bytes \
     server_tls_cert=7:bytes",
    "msp.MSPConfig type=1:i32 config=2:@?",
    "msp.FabricMSPConfig name=1:str root_certs=2:*bytes intermediate_certs=3:*bytes admins=4:*bytes \
     revocation_list=5:*bytes signing_identity=6:>msp.SigningIdentityInfo \
     organizational_unit_identifiers=7:*>msp.FabricOUIdentifier crypto_config=8:>msp.FabricCryptoConfig \
     tls_root_certs=9:*bytes tls_intermediate_certs=10:*bytes fabric_node_ous=11:>msp.FabricNodeOUs",
    "msp.FabricCryptoConfig signature_hash_family=1:str identity_identifier_hash_function=2:str",
    "msp.FabricOUIdentifier certificate=1:bytes organizational_unit_identifier=2:str",
    "msp.FabricNodeOUs enable=1:bool client_ou_identifier=2:>msp.FabricOUIdentifier \
     peer_ou_identifier=3:>msp.FabricOUIdentifier admin_ou_identifier=4:>msp.FabricOUIdentifier \
     orderer_ou_identifier=5:>msp.FabricOUIdentifier",
    "msp.SigningIdentityInfo public_signer=1:bytes private_signer=2:>msp.KeyInfo",
    "msp.KeyInfo key_identifier=1:str key_material=2:bytes",
    "msp.SerializedIdentity mspid=1:str id_bytes=2:bytes",
    "orderer.ConsensusType type=1:str metadata=2:@? state=3:#orderer.ConsensusType.State",
    "orderer.BatchSize max_message_count=1:u32 absolute_max_bytes=2:u32 preferred_max_bytes=3:u32",
    "orderer.BatchTimeout timeout=1:str",
    "orderer.KafkaBrokers brokers=1:*str",
    "orderer.ChannelRestrictions max_count=1:u64",
    "etcdraft.ConfigMetadata consenters=1:*>etcdraft.Consenter options=2:>etcdraft.Options",
    "etcdraft.Consenter host=1:str port=2:u32 client_tls_cert=3:bytes server_tls_cert=4:bytes",
    "etcdraft.Options tick_interval=1:str election_tick=2:u32 heartbeat_tick=3:u32 max_inflight_blocks=4:u32 \
     snapshot_interval_size=5:u32",
    "orderer.smartbft.Options request_batch_max_count=1:u64 request_batch_max_bytes=2:u64 \
     request_batch_max_interval=3:str incoming_message_buffer_size=4:u64 request_pool_size=5:u64 \
     request_forward_timeout=6:str request_complain_timeout=7:str request_auto_remove_timeout=8:str \
     request_max_bytes=9:u64 view_change_resend_interval=10:str view_change_timeout=11:str \
     leader_heartbeat_timeout=12:str leader_heartbeat_count=13:u64 collect_timeout=14:str sync_on_start=15:bool \
     speed_up_view_change=16:bool leader_rotation=17:#orderer.smartbft.Options.Rotation decisions_per_leader=18:u64",
    "protos.ACLs acls=1:%>protos.APIResource",
    "protos.APIResource policy_ref=1:str",
    "protos.AnchorPeers anchor_peers=1:*>protos.AnchorPeer",
    "protos.AnchorPeer host=1:str port=2:i32",
    "protos.Transaction actions=1:*>protos.TransactionAction",
    "protos.TransactionAction header=1:@common.SignatureHeader payload=2:@protos.ChaincodeActionPayload",
    "protos.ChaincodeActionPayload chaincode_proposal_payload=1:@protos.ChaincodeProposalPayload \
     action=2:>protos.ChaincodeEndorsedAction",
    "protos.ChaincodeEndorsedAction proposal_response_payload=1:@protos.ProposalResponsePayload \
     endorsements=2:*>protos.Endorsement",
    "protos.Endorsement endorser=1:bytes signature=2:bytes",
    "protos.ProposalResponsePayload proposal_hash=1:bytes extension=2:@protos.ChaincodeAction",
    "protos.ChaincodeAction results=1:@rwset.TxReadWriteSet events=2:@protos.ChaincodeEvent \
     response=3:>protos.Response chaincode_id=4:>protos.ChaincodeID",
    "protos.Response status=1:i32 message=2:str payload=3:bytes",
    "protos.ChaincodeID path=1:str name=2:str version=3:str",
    "protos.ChaincodeEvent chaincode_id=1:str tx_id=2:str event_name=3:str payload=4:bytes",
    "protos.ChaincodeProposalPayload input=1:@protos.ChaincodeInvocationSpec TransientMap=2:%bytes",
    "protos.ChaincodeInvocationSpec chaincode_spec=1:>protos.ChaincodeSpec",
    "protos.ChaincodeSpec type=1:#protos.ChaincodeSpec.Type chaincode_id=2:>protos.ChaincodeID \
     input=3:>protos.ChaincodeInput timeout=4:i32",
    "protos.ChaincodeInput args=1:*bytes decorations=2:%bytes is_init=3:bool",
    "protos.ChaincodeHeaderExtension chaincode_id=2:>protos.ChaincodeID",
    "rwset.TxReadWriteSet data_model=1:#rwset.TxReadWriteSet.DataModel ns_rwset=2:*>rwset.NsReadWriteSet",
    "rwset.NsReadWriteSet namespace=1:str rwset=2:@kvrwset.KVRWSet \
     collection_hashed_rwset=3:*>rwset.CollectionHashedReadWriteSet",
    // configtxlator leaves the hashes of private data as they are.
    "rwset.CollectionHashedReadWriteSet collection_name=1:str hashed_rwset=2:bytes pvt_rwset_hash=3:bytes",
    "kvrwset.KVRWSet reads=1:*>kvrwset.KVRead range_queries_info=2:*>kvrwset.RangeQueryInfo \
     writes=3:*>kvrwset.KVWrite metadata_writes=4:*>kvrwset.KVMetadataWrite",
    "kvrwset.HashedRWSet hashed_reads=1:*>kvrwset.KVReadHash hashed_writes=2:*>kvrwset.KVWriteHash \
     metadata_writes=3:*>kvrwset.KVMetadataWriteHash",
    "kvrwset.KVRead key=1:str version=2:>kvrwset.Version",
    "kvrwset.KVWrite key=1:str is_delete=2:bool value=3:bytes",
    "kvrwset.KVMetadataWrite key=1:str entries=2:*>kvrwset.KVMetadataEntry",
    "kvrwset.KVMetadataEntry name=1:str value=2:bytes",
    "kvrwset.KVReadHash key_hash=1:bytes version=2:>kvrwset.Version",
    "kvrwset.KVWriteHash key_hash=1:bytes is_delete=2:bool value_hash=3:bytes is_purge=4:bool",
    "kvrwset.KVMetadataWriteHash key_hash=1:bytes entries=2:*>kvrwset.KVMetadataEntry",
    "kvrwset.Version block_num=1:u64 tx_num=2:u64",
    "kvrwset.RangeQueryInfo start_key=1:str end_key=2:str itr_exhausted=3:bool raw_reads=4:|>kvrwset.QueryReads \
     reads_merkle_hashes=5:|>kvrwset.QueryReadsMerkleSummary",
    "kvrwset.QueryReads kv_reads=1:*>kvrwset.KVRead",
    "kvrwset.QueryReadsMerkleSummary max_degree=1:u32 max_level=2:u32 max_level_hashes=3:*bytes",
];

/// Names of numbers, from zero on.
const ENUMS: &[(&str, &[&str])] = &[
    ("common.ImplicitMetaPolicy.Rule", &["ANY", "ALL", "MAJORITY"]),
    ("common.MSPPrincipal.Classification", &["ROLE", "ORGANIZATION_UNIT", "IDENTITY", "ANONYMITY", "COMBINED"]),
    ("common.MSPRole.MSPRoleType", &["MEMBER", "ADMIN", "CLIENT", "PEER", "ORDERER"]),
    ("orderer.ConsensusType.State", &["STATE_NORMAL", "STATE_MAINTENANCE"]),
    ("protos.ChaincodeSpec.Type", &["UNDEFINED", "GOLANG", "NODE", "CAR", "JAVA"]),
    ("rwset.TxReadWriteSet.DataModel", &["KV"]),
    ("orderer.smartbft.Options.Rotation", &["ROTATION_UNSPECIFIED", "ROTATION_OFF", "ROTATION_ON"]),
];

/// The values of a group by the role that it has, which follows from where it lies.
const VALUES: &[(&str, &str, &str)] = &[
    ("Channel", "HashingAlgorithm", "common.HashingAlgorithm"),
    ("Channel", "BlockDataHashingStructure", "common.BlockDataHashingStructure"),
    ("Channel", "OrdererAddresses", "common.OrdererAddresses"),
    ("Channel", "Consortium", "common.Consortium"),
    ("Channel", "Capabilities", "common.Capabilities"),
    ("Orderer", "ConsensusType", "orderer.ConsensusType"),
    ("Orderer", "BatchSize", "orderer.BatchSize"),
    ("Orderer", "BatchTimeout", "orderer.BatchTimeout"),
    ("Orderer", "KafkaBrokers", "orderer.KafkaBrokers"),
    ("Orderer", "ChannelRestrictions", "orderer.ChannelRestrictions"),
    ("Orderer", "Capabilities", "common.Capabilities"),
    ("Orderer", "Orderers", "common.Orderers"),
    ("OrdererOrg", "MSP", "msp.MSPConfig"),
    ("OrdererOrg", "Endpoints", "common.OrdererAddresses"),
    ("Application", "Capabilities", "common.Capabilities"),
    ("Application", "ACLs", "protos.ACLs"),
    ("ApplicationOrg", "MSP", "msp.MSPConfig"),
    ("ApplicationOrg", "AnchorPeers", "protos.AnchorPeers"),
    ("Consortium", "ChannelCreationPolicy", "common.Policy"),
    ("ConsortiumOrg", "MSP", "msp.MSPConfig"),
];

/// The fields of a message; `None` for one that is not in the table.
pub(super) fn fields(message: &str) -> Option<Vec<Field>> {
    let row = MESSAGES.iter().find(|row| row.split(' ').next() == Some(message))?;
    Some(row.split_ascii_whitespace().skip(1).filter_map(field).collect())
}

/// The names of all messages.
pub(super) fn messages() -> impl Iterator<Item = &'static str> {
    MESSAGES.iter().filter_map(|row| row.split(' ').next())
}

fn field(text: &'static str) -> Option<Field> {
    let (name, rest) = text.split_once('=')?;
    let (number, kind) = rest.split_once(':')?;
    let (shape, kind) = match kind.as_bytes().first()? {
        b'*' => (Shape::Many, &kind[1..]),
        b'%' => (Shape::Map, &kind[1..]),
        b'|' => (Shape::Choice, &kind[1..]),
        _ => (Shape::One, kind),
    };
    let kind = match kind {
        "u32" => Kind::Small { signed: false },
        "i32" => Kind::Small { signed: true },
        "u64" => Kind::Large,
        "bool" => Kind::Bool,
        "str" => Kind::Text,
        "bytes" => Kind::Bytes,
        "time" => Kind::Time,
        "@?" => Kind::Variable,
        other => match other.as_bytes().first()? {
            b'>' => Kind::Message(&other[1..]),
            b'#' => Kind::Enum(&other[1..]),
            b'@' => Kind::Nested(&other[1..]),
            _ => return None,
        },
    };
    Some(Field { name, number: number.parse().ok()?, shape, kind })
}

/// The name of a number.
pub(super) fn name_of(of: &str, number: i32) -> Option<&'static str> {
    let (_, names) = ENUMS.iter().find(|(name, _)| *name == of)?;
    names.get(usize::try_from(number).ok()?).copied()
}

/// The number of a name.
pub(super) fn number_of(of: &str, name: &str) -> Option<i32> {
    let (_, names) = ENUMS.iter().find(|(known, _)| *known == of)?;
    i32::try_from(names.iter().position(|known| *known == name)?).ok()
}

/// The role of the group `key` in a group of this role.
pub(crate) fn role_of(parent: &str, key: &str) -> &'static str {
    match (parent, key) {
        ("Channel", "Orderer") => "Orderer",
        ("Channel", "Application") => "Application",
        ("Channel", "Consortiums") => "Consortiums",
        ("Orderer", _) => "OrdererOrg",
        ("Application", _) => "ApplicationOrg",
        ("Consortiums", _) => "Consortium",
        ("Consortium", _) => "ConsortiumOrg",
        _ => "",
    }
}

/// The message that the value `key` of a group of this role is.
pub(crate) fn value_of(role: &str, key: &str) -> Option<&'static str> {
    VALUES.iter().find(|(known, name, _)| (*known, *name) == (role, key)).map(|(_, _, message)| *message)
}
