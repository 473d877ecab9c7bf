//! Who agrees to a definition, and in what the others differ.
//!
//! A module of its own because the answer is put together from what peers of different versions tell: those of Fabric 3
//! name the parts that differ for every organization, those of 2.5 say yes or no; what the own organization has
//! approved can be read with either, and is compared field by field here.
//!
//! Source: Fabric 3.1.5 `core/chaincode/lifecycle/serializer.go` (what is compared).

use std::collections::BTreeMap;

use super::{ENCODING_HINT, LifecycleError, OrgLifecycle, approvals, listed};
use crate::fabric::lifecycle::{ChaincodeDefinition, Difference, Part};
use crate::fabric::names::MspId;
use crate::pb::lifecycle::CheckCommitReadinessResult;
use crate::pb::lifecycle::check_commit_readiness_result::Mismatches;

/// Who agrees to a definition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Which organizations have approved exactly this definition.
    pub approvals: BTreeMap<MspId, bool>,
    /// Why the others have not, as far as it can be known.
    pub disagreements: BTreeMap<MspId, Disagreement>,
}

/// Why an organization does not agree to a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disagreement {
    /// It has approved nothing with this sequence.
    Nothing,
    /// What it has approved differs in these parts.
    Parts(Vec<Part>),
    /// What it has approved differs in these fields.
    Fields(Vec<Difference>),
    /// It has approved nothing or something else: peers of Fabric 2.5 tell no more of other organizations.
    Unknown,
}

impl Agreement {
    /// The organizations that agree.
    pub fn agreed(&self) -> impl Iterator<Item = &MspId> {
        self.approvals.iter().filter(|(_, approved)| **approved).map(|(msp_id, _)| msp_id)
    }

    /// The organizations that do not agree.
    pub fn missing(&self) -> impl Iterator<Item = &MspId> {
        self.approvals.iter().filter(|(_, approved)| !**approved).map(|(msp_id, _)| msp_id)
    }

    /// Why those that do not agree do not, as the end of a sentence; nothing when all agree. It names the setting to look
    /// at where the encoding of policies may be the reason.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        for (msp_id, disagreement) in &self.disagreements {
            text.push_str("; ");
            text.push_str(msp_id.as_str());
            text.push_str(&disagreement.in_words());
        }
        if self.disagreements.values().any(Disagreement::may_be_encoding) {
            text.push_str(ENCODING_HINT);
        }
        text
    }
}

impl Disagreement {
    /// What follows the organization's name.
    fn in_words(&self) -> String {
        match self {
            Self::Nothing => " has approved none".to_owned(),
            Self::Parts(parts) => format!(" has approved another: it differs in {}", listed(parts)),
            Self::Fields(fields) => format!(" has approved another: {}", listed(fields)),
            Self::Unknown => " has approved none or another".to_owned(),
        }
    }

    /// Whether the bytes of a policy may be all that differs.
    fn may_be_encoding(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Parts(parts) => parts.iter().all(|part| part.is_encoded()),
            Self::Fields(fields) => fields.iter().all(|difference| difference.field.is_encoded()),
            Self::Unknown => true,
        }
    }

    /// What a peer of Fabric 3 tells. It names the whole where nothing is approved.
    fn of_items(items: &Mismatches) -> Self {
        let parts: Vec<Part> = items.items.iter().filter_map(|item| Part::of_name(item)).collect();
        if parts.len() == items.items.len() && !parts.is_empty() { Self::Parts(parts) } else { Self::Nothing }
    }
}

impl OrgLifecycle {
    /// Who agrees to a definition, and in what the others differ.
    ///
    /// Cancel safety: a query has no effect.
    ///
    /// # Errors
    /// [`LifecycleError`], also when the sequence is not the next one.
    pub async fn agreement(&self, definition: &ChaincodeDefinition) -> Result<Agreement, LifecycleError> {
        let CheckCommitReadinessResult { approvals: answers, mismatches } = self.check_readiness(definition).await?;
        let mut agreement =
            Agreement { approvals: approvals("CheckCommitReadiness", answers)?, ..Agreement::default() };
        let missing: Vec<MspId> = agreement.missing().cloned().collect();
        for msp_id in missing {
            let told = mismatches.get(msp_id.as_str()).map(Disagreement::of_items);
            let disagreement = if msp_id == *self.channel.client().msp_id() {
                self.own_disagreement(definition).await.or(told)
            } else {
                told
            };
            agreement.disagreements.insert(msp_id, disagreement.unwrap_or(Disagreement::Unknown));
        }
        Ok(agreement)
    }

    /// In what the own organization's approval differs; `None` when that was not learnt, which is no reason to fail.
    async fn own_disagreement(&self, definition: &ChaincodeDefinition) -> Option<Disagreement> {
        match self.query_approved(&definition.name, Some(definition.sequence)).await {
            Ok(Some(approved)) => {
                let differences = definition.differences(&approved.definition);
                // Approved meanwhile, or on another peer.
                (!differences.is_empty()).then_some(Disagreement::Fields(differences))
            }
            Ok(None) => Some(Disagreement::Nothing),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::lifecycle::Field;

    #[test]
    fn disagreements_are_told_with_a_remedy_where_there_may_be_one() {
        let told = |items: &[&str]| {
            Disagreement::of_items(&Mismatches { items: items.iter().map(ToString::to_string).collect() })
        };
        assert_eq!(told(&["ChaincodeParameters"]), Disagreement::Nothing);
        assert_eq!(told(&["ValidationInfo"]), Disagreement::Parts(vec![Part::Validation]));
        let msp_id = |name: &str| MspId::parse(name).unwrap();
        let words = |disagreement| {
            let disagreements = [(msp_id("A"), disagreement)].into();
            Agreement { approvals: [(msp_id("A"), false)].into(), disagreements }.in_words()
        };
        assert_eq!(words(Disagreement::Nothing), "; A has approved none");
        assert!(words(told(&["ValidationInfo"])).contains("DEFINITION_ENCODING"));
        assert!(words(Disagreement::Unknown).contains("DEFINITION_ENCODING"));
        let version = Difference { field: Field::Version, wanted: "1".into(), found: "2".into(), encoding_only: false };
        assert_eq!(words(Disagreement::Fields(vec![version])), "; A has approved another: version is 2 instead of 1");
    }
}
