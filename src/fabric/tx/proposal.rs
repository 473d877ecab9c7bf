//! What is called, and the proposal that asks for it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;

use super::SignedProposal;
use crate::fabric::identity::{SignError, Signer};
use crate::fabric::names::{ChannelName, TxId};
use crate::pb::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use crate::pb::protos;
use crate::pb::protos::chaincode_spec::Type as Language;

/// 24 random bytes that make a transaction's ID unique; given by the caller, because this layer knows no randomness.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 24]);

impl Nonce {
    /// As bytes for a header.
    pub fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({})", crate::fabric::names::hex(&self.0))
    }
}

/// A chaincode that an invocation touches, and what of it: from this, peers tell who must endorse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodeCall {
    /// The chaincode's name.
    pub name: String,
    /// The private data collections that are read or written.
    pub collections: Vec<String>,
    /// The collections are written and not read: then those may endorse who do not hold them.
    pub no_private_reads: bool,
    /// Nothing is written but private data: then the collections' own policies are enough.
    pub no_public_writes: bool,
}

impl ChaincodeCall {
    /// The public state of `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), collections: Vec::new(), no_private_reads: false, no_public_writes: false }
    }

    /// One more collection.
    #[must_use]
    pub fn collection(mut self, name: impl Into<String>) -> Self {
        self.collections.push(name.into());
        self
    }
}

/// A call of a chaincode: which one, with what.
///
/// ```
/// use opssc::fabric::tx::Invocation;
///
/// let invocation = Invocation::new("basic", "CreateAsset").arg("a1").arg("blue");
/// assert_eq!(invocation.args.len(), 3);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The chaincode's name.
    pub chaincode: String,
    /// The function first, by custom.
    pub args: Vec<Bytes>,
    /// For the endorsers alone: neither in the transaction nor in its hash.
    pub transient: BTreeMap<String, Bytes>,
    /// The call that a chaincode with `init_required` needs first.
    pub is_init: bool,
    /// What the client says about the language. The peers do not look at it, but it is part of the signed bytes.
    pub language: Language,
    /// The chaincodes and collections that it touches, where the caller knows: for
    /// finding endorsers. Left empty, the first endorser tells. Not part of what is sent.
    pub interest: Vec<ChaincodeCall>,
}

impl Invocation {
    /// Calls `function` of `chaincode` without arguments.
    pub fn new(chaincode: impl Into<String>, function: impl Into<String>) -> Self {
        Self {
            chaincode: chaincode.into(),
            args: vec![function.into().into()],
            transient: BTreeMap::new(),
            is_init: false,
            language: Language::Golang,
            interest: Vec::new(),
        }
    }

    /// A call of a `_lifecycle` function with its one argument message.
    pub fn lifecycle(function: &str, message: &impl prost::Message) -> Self {
        let mut invocation = Self::new("_lifecycle", function).arg(message.encode_to_vec());
        invocation.language = Language::Undefined;
        invocation
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<Bytes>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One more transient value.
    #[must_use]
    pub fn transient(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.transient.insert(key.into(), value.into());
        self
    }

    /// Marks the initializing call.
    #[must_use]
    pub fn init(mut self) -> Self {
        self.is_init = true;
        self
    }

    /// Says that it touches this chaincode, which may be the invoked one. All that it touches must then be named.
    #[must_use]
    pub fn touching(mut self, call: ChaincodeCall) -> Self {
        self.interest.push(call);
        self
    }

    /// The function's name, for logs; empty when the first argument is no text.
    pub fn function(&self) -> &str {
        self.args.first().and_then(|arg| std::str::from_utf8(arg).ok()).unwrap_or_default()
    }

    /// The `protos.ChaincodeInvocationSpec`, encoded.
    pub fn spec(&self) -> Bytes {
        protos::ChaincodeInvocationSpec {
            chaincode_spec: Some(protos::ChaincodeSpec {
                r#type: self.language.into(),
                chaincode_id: Some(self.chaincode_id()),
                input: Some(protos::ChaincodeInput {
                    args: self.args.clone(),
                    decorations: BTreeMap::new(),
                    is_init: self.is_init,
                }),
                timeout: 0,
            }),
        }
        .encode_to_vec()
        .into()
    }

    fn chaincode_id(&self) -> protos::ChaincodeId {
        protos::ChaincodeId { name: self.chaincode.clone(), ..Default::default() }
    }
}

impl fmt::Debug for Invocation {
    /// Arguments may be secrets or megabytes: only their number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("chaincode", &self.chaincode)
            .field("function", &self.function().chars().take(80).collect::<String>())
            .field("args", &self.args.len())
            .field("transient", &self.transient.len())
            .finish_non_exhaustive()
    }
}

/// A proposal: the call with its headers, ready to be signed.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub(super) tx_id: TxId,
    pub(super) channel_header: Bytes,
    pub(super) signature_header: Bytes,
    /// The payload as the transaction carries it: without the transient values.
    pub(super) payload_for_tx: Bytes,
    bytes: Bytes,
    channel: Option<ChannelName>,
    chaincode: String,
    has_transient: bool,
    interest: Vec<ChaincodeCall>,
}

/// Why bytes are no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("proposal is malformed: {reason}")]
pub struct ProposalError {
    pub(super) reason: String,
}

impl Proposal {
    /// Proposes `invocation` on `channel`, or outside of any channel (as for `InstallChaincode`).
    ///
    /// `header_type` is `EndorserTransaction` but for cscc's `JoinChain`, whose peers want `Config`.
    pub fn new(
        channel: Option<&ChannelName>,
        invocation: &Invocation,
        creator: &Bytes,
        nonce: Nonce,
        time: Timestamp,
        header_type: HeaderType,
    ) -> Self {
        let tx_id = TxId::of(&nonce.0, creator);
        let extension = protos::ChaincodeHeaderExtension { chaincode_id: Some(invocation.chaincode_id()) };
        let channel_header = Bytes::from(
            ChannelHeader {
                r#type: header_type.into(),
                version: 0,
                timestamp: Some(time),
                channel_id: channel.map_or_else(String::new, ToString::to_string),
                tx_id: tx_id.to_string(),
                epoch: 0,
                extension: extension.encode_to_vec().into(),
                tls_cert_hash: Bytes::new(),
            }
            .encode_to_vec(),
        );
        let signature_header =
            Bytes::from(SignatureHeader { creator: creator.clone(), nonce: nonce.to_bytes() }.encode_to_vec());
        let header = Header { channel_header: channel_header.clone(), signature_header: signature_header.clone() };
        let mut payload = protos::ChaincodeProposalPayload { input: invocation.spec(), transient_map: BTreeMap::new() };
        let payload_for_tx = Bytes::from(payload.encode_to_vec());
        payload.transient_map.clone_from(&invocation.transient);
        let bytes = protos::Proposal {
            header: header.encode_to_vec().into(),
            payload: payload.encode_to_vec().into(),
            extension: Bytes::new(),
        }
        .encode_to_vec()
        .into();
        Self {
            tx_id,
            channel_header,
            signature_header,
            payload_for_tx,
            bytes,
            channel: channel.cloned(),
            chaincode: invocation.chaincode.clone(),
            has_transient: !invocation.transient.is_empty(),
            interest: invocation.interest.clone(),
        }
    }

    /// Reads what [`bytes`](Self::bytes) gave, perhaps in another process: where the key is elsewhere, a proposal may
    /// have to wait. What it touches beside the invoked chaincode is not in the bytes.
    ///
    /// # Errors
    /// [`ProposalError`], also when the transaction ID does not follow from nonce and creator.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, ProposalError> {
        fn part<M: prost::Message + Default>(what: &str, bytes: &Bytes) -> Result<M, ProposalError> {
            M::decode(bytes.clone()).map_err(|error| ProposalError { reason: format!("{what}: {error}") })
        }
        let wrong = |reason: String| ProposalError { reason };
        let bytes = bytes.into();
        let proposal: protos::Proposal = part("proposal", &bytes)?;
        let header: Header = part("header", &proposal.header)?;
        let about: ChannelHeader = part("channel header", &header.channel_header)?;
        let by: SignatureHeader = part("signature header", &header.signature_header)?;
        let payload: protos::ChaincodeProposalPayload = part("payload", &proposal.payload)?;
        let spec: protos::ChaincodeInvocationSpec = part("invocation", &payload.input)?;
        let chaincode = spec.chaincode_spec.and_then(|spec| spec.chaincode_id).unwrap_or_default().name;
        if chaincode.is_empty() {
            return Err(wrong("no chaincode is named".to_owned()));
        }
        let tx_id = TxId::of(&by.nonce, &by.creator);
        if about.tx_id != tx_id.as_str() {
            return Err(wrong("transaction ID does not follow from nonce and creator".to_owned()));
        }
        let channel = match about.channel_id {
            none if none.is_empty() => None,
            name => Some(ChannelName::parse(name).map_err(|error| wrong(error.to_string()))?),
        };
        let has_transient = !payload.transient_map.is_empty();
        let for_tx = protos::ChaincodeProposalPayload { input: payload.input, transient_map: BTreeMap::new() };
        Ok(Self {
            tx_id,
            channel_header: header.channel_header,
            signature_header: header.signature_header,
            payload_for_tx: for_tx.encode_to_vec().into(),
            bytes,
            channel,
            chaincode,
            has_transient,
            interest: Vec::new(),
        })
    }

    /// The channel, where it is on one.
    pub fn channel(&self) -> Option<&ChannelName> {
        self.channel.as_ref()
    }

    /// The name of the invoked chaincode.
    pub fn chaincode(&self) -> &str {
        &self.chaincode
    }

    /// Whether there are values for the endorsers alone.
    pub fn has_transient(&self) -> bool {
        self.has_transient
    }

    /// See [`Invocation::interest`].
    pub fn interest(&self) -> &[ChaincodeCall] {
        &self.interest
    }

    /// The ID that the transaction will have.
    pub fn tx_id(&self) -> &TxId {
        &self.tx_id
    }

    /// The encoded `protos.Proposal`: what is signed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of [`bytes`](Self::bytes): what an ECDSA signer elsewhere is given. (Ed25519 takes the bytes.)
    pub fn digest(&self) -> [u8; 32] {
        use sha2::{Digest as _, Sha256};
        Sha256::digest(&self.bytes).into()
    }

    /// The proposal with a signature that was made elsewhere over [`bytes`](Self::bytes). It is not checked here.
    #[must_use]
    pub fn signed_with(self, signature: impl Into<Bytes>) -> SignedProposal {
        SignedProposal { proposal: self, signature: signature.into() }
    }

    /// The encoded channel header.
    pub fn channel_header(&self) -> &Bytes {
        &self.channel_header
    }

    /// The encoded signature header.
    pub fn signature_header(&self) -> &Bytes {
        &self.signature_header
    }

    /// The encoded payload as the transaction carries it: without transient values.
    pub fn payload_for_tx(&self) -> &Bytes {
        &self.payload_for_tx
    }

    /// What endorsers hash and sign as the proposal: its headers and its payload without transient values.
    pub fn hash(&self) -> [u8; 32] {
        use sha2::{Digest as _, Sha256};
        Sha256::new()
            .chain_update(&self.channel_header)
            .chain_update(&self.signature_header)
            .chain_update(&self.payload_for_tx)
            .finalize()
            .into()
    }

    /// The proposal with its signature.
    ///
    /// Cancel safety: dropping the future sends nothing and changes nothing.
    ///
    /// # Errors
    /// [`SignError`] when the signer fails.
    pub async fn sign(&self, signer: &dyn Signer) -> Result<protos::SignedProposal, SignError> {
        let signature = signer.sign(&self.bytes).await?;
        Ok(protos::SignedProposal { proposal_bytes: self.bytes.clone(), signature })
    }
}
