//! Whom to ask for endorsements: layouts of groups, of which one has to be completed.
//!
//! A module of its own because it waits for nothing: the service asks the peers that it names and tells it what came
//! back. An endorsement counts for every layout that has a place for it.
//!
//! Source: Fabric 3.1.5 `internal/pkg/gateway/{endorsement,registry}.go`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::devnet::peer::context::Refused;
use crate::devnet::peer::discovery::{Candidate, Layouts, Member};
use crate::pb::gateway::ErrorDetail;
use crate::pb::protos::{Endorsement, ProposalResponse};

/// The one group of a plan for an evaluation.
const ANY: &str = "g1";

#[derive(Debug)]
struct Layout {
    required: BTreeMap<String, u32>,
    endorsements: Vec<Endorsement>,
}

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Plan {
    /// `None` for those that cannot be completed any more.
    layouts: Vec<Option<Layout>>,
    groups: BTreeMap<String, VecDeque<Member>>,
    /// The group of each peer.
    group_of: BTreeMap<String, String>,
    next: usize,
    payload: Option<Bytes>,
    completed: Option<Vec<Endorsement>>,
    errors: Vec<ErrorDetail>,
}

/// What a completed plan has brought.
#[derive(Debug)]
pub(super) struct Endorsed {
    pub(super) payload: Bytes,
    pub(super) endorsements: Vec<Endorsement>,
}

/// The words of a node, as errors pass them on.
pub(super) fn detail(member: &Member, message: impl Into<String>) -> ErrorDetail {
    ErrorDetail { address: member.endpoint.clone(), msp_id: member.peer.msp_id().to_string(), message: message.into() }
}

/// The highest first, `own` before others of its height.
fn sort(candidates: &mut [Candidate], own: &str) {
    candidates.sort_by_key(|candidate| (Reverse(candidate.height), candidate.member.peer.name() != own));
}

fn members(mut candidates: Vec<Candidate>, own: &str) -> VecDeque<Member> {
    sort(&mut candidates, own);
    candidates.into_iter().map(|candidate| candidate.member).collect()
}

/// Those of `candidates` that run `chaincode`, by organization.
fn by_organization(candidates: Vec<Candidate>, chaincode: &str, is_system: bool) -> BTreeMap<String, Vec<Candidate>> {
    let mut found: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        if is_system || candidate.runs(chaincode) {
            found.entry(candidate.member.peer.msp_id().to_string()).or_default().push(candidate);
        }
    }
    found
}

impl Plan {
    fn new(layouts: Vec<BTreeMap<String, u32>>, groups: BTreeMap<String, VecDeque<Member>>) -> Self {
        let group_of = groups
            .iter()
            .flat_map(|(group, members)| members.iter().map(|member| (member.peer.name().to_owned(), group.clone())))
            .collect();
        let layouts = layouts.into_iter().map(|required| Some(Layout { required, endorsements: Vec::new() })).collect();
        Self { layouts, groups, group_of, next: 0, payload: None, completed: None, errors: Vec::new() }
    }

    /// One peer of each of `organizations`.
    pub(super) fn for_organizations(
        candidates: Vec<Candidate>,
        chaincode: &str,
        is_system: bool,
        organizations: &[String],
        own: &str,
    ) -> Result<Self, Refused> {
        let mut found = by_organization(candidates, chaincode, is_system);
        let mut groups = BTreeMap::new();
        let mut missing = Vec::new();
        for organization in organizations {
            if let Some(candidates) = found.remove(organization) {
                groups.insert(organization.clone(), members(candidates, own));
            } else if !groups.contains_key(organization) {
                missing.push(organization.as_str());
            }
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Refused(format!("failed to find any endorsing peers for org(s): {missing}")));
        }
        let required = groups.keys().map(|organization| (organization.clone(), 1)).collect();
        Ok(Self::new(vec![required], groups))
    }

    /// One peer of any of `organizations` (all, where there are none), those of `own_organization` first.
    pub(super) fn for_evaluation(
        candidates: Vec<Candidate>,
        chaincode: &str,
        is_system: bool,
        organizations: &[String],
        own_organization: &str,
        own: &str,
    ) -> Option<Self> {
        let mut found = by_organization(candidates, chaincode, is_system);
        if !organizations.is_empty() {
            found.retain(|organization, _| organizations.contains(organization));
        }
        let mut all = members(found.remove(own_organization).unwrap_or_default(), own);
        all.extend(members(found.into_values().flatten().collect(), own));
        let layout = BTreeMap::from([(ANY.to_owned(), 1)]);
        (!all.is_empty()).then(|| Self::new(vec![layout], BTreeMap::from([(ANY.to_owned(), all)])))
    }

    /// What discovery says, the layouts with the group of `preferred` first; `shuffle` mixes those of equal rank.
    pub(super) fn from_layouts(
        found: Layouts,
        preferred: Option<&Member>,
        own: &str,
        shuffle: impl Fn(&mut [BTreeMap<String, u32>]),
    ) -> Self {
        let groups: BTreeMap<_, _> =
            found.groups.into_iter().map(|(name, candidates)| (name, members(candidates, own))).collect();
        let has = |members: &VecDeque<Member>| {
            preferred.is_some_and(|preferred| members.iter().any(|it| it.peer.name() == preferred.peer.name()))
        };
        let preferred_groups: Vec<_> =
            groups.iter().filter(|(_, members)| has(members)).map(|(name, _)| name).collect();
        let (mut first, mut others): (Vec<_>, Vec<_>) = found
            .alternatives
            .into_iter()
            .partition(|layout| preferred_groups.iter().any(|group| layout.contains_key(group.as_str())));
        shuffle(&mut first);
        shuffle(&mut others);
        first.append(&mut others);
        Self::new(first, groups)
    }

    /// The peers to ask for the next layout that can still be completed; `None` when there is no more.
    pub(super) fn endorsers(&mut self) -> Option<Vec<Member>> {
        loop {
            let layout = self.layouts.get(self.next)?;
            let enough = |(group, number): (&String, &u32)| {
                self.groups.get(group).is_some_and(|members| members.len() >= *number as usize)
            };
            let possible = layout.as_ref().is_some_and(|layout| layout.required.iter().all(enough));
            if !possible {
                self.layouts[self.next] = None;
                self.next += 1;
                continue;
            }
            let required = layout.as_ref().map(|layout| layout.required.clone()).unwrap_or_default();
            let mut endorsers = Vec::new();
            for (group, number) in required {
                let members = self.groups.entry(group).or_default();
                endorsers.extend(members.drain(..number as usize));
            }
            return Some(endorsers);
        }
    }

    /// Takes an endorsement in. Whether it agrees with those before.
    pub(super) fn accept(&mut self, endorser: &Member, response: &ProposalResponse) -> bool {
        let group = self.group_of.get(endorser.peer.name()).cloned().unwrap_or_default();
        if let Some(members) = self.groups.get_mut(&group) {
            members.retain(|member| member.peer.name() != endorser.peer.name());
        }
        match &self.payload {
            None => self.payload = Some(response.payload.clone()),
            Some(payload) if *payload == response.payload => {}
            Some(_) => {
                self.errors.push(detail(endorser, "ProposalResponsePayloads do not match"));
                return false;
            }
        }
        for layout in self.layouts.iter_mut().skip(self.next).flatten() {
            let Some(number) = layout.required.get_mut(&group) else { continue };
            *number = number.saturating_sub(1);
            let group_done = *number == 0;
            layout.endorsements.extend(response.endorsement.clone());
            if group_done {
                layout.required.remove(&group);
                if layout.required.is_empty() {
                    self.completed = Some(layout.endorsements.clone());
                    return true;
                }
            }
        }
        true
    }

    /// Another peer in the place of one that failed, or the group that has no more.
    pub(super) fn instead_of(&mut self, endorser: &Member) -> Result<Member, String> {
        let group = self.group_of.get(endorser.peer.name()).cloned().unwrap_or_default();
        self.groups.get_mut(&group).and_then(VecDeque::pop_front).ok_or(group)
    }

    /// Gives up the layouts that need one of `groups`, and goes on to the next.
    pub(super) fn abandon(&mut self, groups: &[String]) {
        for layout in self.layouts.iter_mut().skip(self.next) {
            if layout.as_ref().is_some_and(|layout| groups.iter().any(|group| layout.required.contains_key(group))) {
                *layout = None;
            }
        }
        self.next += 1;
    }

    /// Notes what a node said.
    pub(super) fn fail(&mut self, error: ErrorDetail) {
        self.errors.push(error);
    }

    /// What nodes said.
    pub(super) fn errors(&self) -> &[ErrorDetail] {
        &self.errors
    }

    /// Whether a layout is completed.
    pub(super) fn is_complete(&self) -> bool {
        self.completed.is_some()
    }

    /// What came of it: each endorser once.
    pub(super) fn endorsed(&self) -> Option<Endorsed> {
        let mut endorsements: Vec<Endorsement> = Vec::new();
        for endorsement in self.completed.as_ref()? {
            if !endorsements.iter().any(|known| known.endorser == endorsement.endorser) {
                endorsements.push(endorsement.clone());
            }
        }
        Some(Endorsed { payload: self.payload.clone()?, endorsements })
    }
}
