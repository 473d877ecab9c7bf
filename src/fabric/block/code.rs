//! The peers' verdicts on transactions, under Fabric's names.

use std::fmt;

use crate::pb::protos::TxValidationCode;

macro_rules! codes {
    ($($variant:ident = $number:literal, $name:literal;)*) => {
        /// What the peers found when they validated a transaction.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ValidationCode {
            $(#[doc = concat!("`", $name, "`, ", stringify!($number), ".")] $variant,)*
            /// A code that this version does not know.
            Other(u8),
        }

        impl From<u8> for ValidationCode {
            fn from(code: u8) -> Self {
                match code {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }

        impl ValidationCode {
            /// The number in block metadata.
            pub fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// Fabric's name; `None` for a code that this version does not know.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)*
                    Self::Other(_) => None,
                }
            }
        }
    };
}

codes! {
    Valid = 0, "VALID";
    NilEnvelope = 1, "NIL_ENVELOPE";
    BadPayload = 2, "BAD_PAYLOAD";
    BadCommonHeader = 3, "BAD_COMMON_HEADER";
    BadCreatorSignature = 4, "BAD_CREATOR_SIGNATURE";
    InvalidEndorserTransaction = 5, "INVALID_ENDORSER_TRANSACTION";
    InvalidConfigTransaction = 6, "INVALID_CONFIG_TRANSACTION";
    UnsupportedTxPayload = 7, "UNSUPPORTED_TX_PAYLOAD";
    BadProposalTxid = 8, "BAD_PROPOSAL_TXID";
    DuplicateTxid = 9, "DUPLICATE_TXID";
    EndorsementPolicyFailure = 10, "ENDORSEMENT_POLICY_FAILURE";
    MvccReadConflict = 11, "MVCC_READ_CONFLICT";
    PhantomReadConflict = 12, "PHANTOM_READ_CONFLICT";
    UnknownTxType = 13, "UNKNOWN_TX_TYPE";
    TargetChainNotFound = 14, "TARGET_CHAIN_NOT_FOUND";
    MarshalTxError = 15, "MARSHAL_TX_ERROR";
    NilTxaction = 16, "NIL_TXACTION";
    ExpiredChaincode = 17, "EXPIRED_CHAINCODE";
    ChaincodeVersionConflict = 18, "CHAINCODE_VERSION_CONFLICT";
    BadHeaderExtension = 19, "BAD_HEADER_EXTENSION";
    BadChannelHeader = 20, "BAD_CHANNEL_HEADER";
    BadResponsePayload = 21, "BAD_RESPONSE_PAYLOAD";
    BadRwset = 22, "BAD_RWSET";
    IllegalWriteset = 23, "ILLEGAL_WRITESET";
    InvalidWriteset = 24, "INVALID_WRITESET";
    InvalidChaincode = 25, "INVALID_CHAINCODE";
    NotValidated = 254, "NOT_VALIDATED";
    InvalidOtherReason = 255, "INVALID_OTHER_REASON";
}

impl ValidationCode {
    /// Whether the transaction took effect.
    pub fn is_valid(self) -> bool {
        self == Self::Valid
    }

    /// Whether another transaction was in the way, so that the same call may succeed as a new transaction.
    pub fn is_conflict(self) -> bool {
        matches!(self, Self::MvccReadConflict | Self::PhantomReadConflict)
    }
}

impl From<i32> for ValidationCode {
    fn from(code: i32) -> Self {
        u8::try_from(code).map_or(Self::InvalidOtherReason, Self::from)
    }
}

impl From<TxValidationCode> for ValidationCode {
    fn from(code: TxValidationCode) -> Self {
        Self::from(code as i32)
    }
}

impl fmt::Display for ValidationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "validation code {}", self.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fabrics() {
        for number in 0..=u8::MAX {
            let ours = ValidationCode::from(number);
            let theirs = TxValidationCode::try_from(i32::from(number)).ok().map(|code| code.as_str_name());
            assert_eq!((ours.name(), ours.number()), (theirs, number));
        }
    }
}
