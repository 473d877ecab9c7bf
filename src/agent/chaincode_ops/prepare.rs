//! The first task of a chaincode proposal: validate, fetch, build, package, install, approve.
//!
//! What the sources are made into is up to [`sources`](super::sources); here it is put on the peers.

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::client::lifecycle::{Approval, Installation};
use crate::client::{Channel, Peer};
use crate::fabric::names::PackageId;
use crate::fabric::package::{Package, ccaas};
use crate::opssc::chaincode_ops::PackageType;

use super::super::images::{self, ImageError};
use super::super::plan;
use super::super::progress::{Happening, Step};
use super::super::task::{Input, Route};
use super::super::text;
use super::super::trouble::Trouble;
use super::{Found, Task, lifecycle_trouble};

impl Task<'_> {
    pub(super) async fn validate(&mut self) -> Result<(Input, String), Trouble> {
        if let Some(input) = self.look().await? {
            return Ok((input, String::new()));
        }
        let Found { plan, channel, .. } = self.found()?;
        let package = &plan.package;
        let allow = &self.operations.sources.allow;
        let package_type = package.package_type.as_str();
        allow
            .check(plan.channel.as_str(), package_type, &package.repository)
            .map_err(|rule| Trouble::definite(rule.to_string()))?;
        let route = self.route(&package.package_type)?;
        self.check_membership(channel).await?;
        let committed =
            channel.lifecycle().committed(plan.chaincode()).await.map_err(|error| lifecycle_trouble(&error))?.map(
                |committed| plan::Committed {
                    sequence: committed.definition.sequence,
                    same_content: plan.definition.is_same(&committed.definition),
                    approved: committed.approvals.get(self.operations.client.msp_id()).copied().unwrap_or(false),
                },
            );
        plan::check_sequence(plan.sequence(), committed).map_err(Trouble::doubtful)?;
        let detail = format!("{} sequence {} on {}", plan.chaincode(), plan.sequence(), plan.channel);
        Ok((Input::Valid(route), detail))
    }

    /// How packages of this type come about here.
    fn route(&self, package_type: &PackageType) -> Result<Route, Trouble> {
        let launch = self.operations.servers.launch_from_agent;
        match package_type {
            PackageType::Ccaas | PackageType::K8s if launch => Err(Trouble::definite(
                "this agent cannot launch chaincode servers: run the server and set CC_SERVER_LAUNCH_FROM_AGENT to false",
            )),
            PackageType::K8s if self.operations.sources.k8s_image_file.is_none() => Err(Trouble::definite(
                "this agent builds no images, and no setting (K8S_IMAGE_FILE) says which image to use",
            )),
            PackageType::Ccaas | PackageType::K8s => Ok(Route::Written),
            other => Err(Trouble::definite(format!(
                "package type {} is not supported by this agent, only ccaas and k8s are",
                text::bounded(other.as_str(), 40)
            ))),
        }
    }

    /// Every own peer must have joined the channel; a peer's own answer to a call there is harder to understand.
    async fn check_membership(&self, channel: &Channel) -> Result<(), Trouble> {
        let client = &self.operations.client;
        for peer in client.peers() {
            let joined =
                client.joined_channels(peer).await.map_err(|error| Trouble::of(&error, error.is_retryable()))?;
            if !joined.contains(channel.name()) {
                let peer = peer.name();
                return Err(Trouble::doubtful(format!("{peer} has not joined channel {}", channel.name())));
            }
        }
        Ok(())
    }

    pub(super) fn package(&mut self) -> Result<(Input, String), Trouble> {
        let (package, from) = match self.found()?.plan.package.package_type {
            PackageType::K8s => self.name_image()?,
            _ => self.name_server()?,
        };
        let id = package.id().clone();
        self.package = Some(package);
        Ok((Input::Packaged(id.clone()), format!("{id} for {from}")))
    }

    /// A package that says where the chaincode's server is.
    fn name_server(&self) -> Result<(Package, String), Trouble> {
        let Found { plan, .. } = self.found()?;
        let address = self.operations.servers.address_of(plan.chaincode(), plan.sequence());
        let package = ccaas::package(&plan.label, &ccaas::Connection::plain(address.as_str()))
            .map_err(|error| Trouble::definite(text::chain(&error)))?;
        Ok((package, format!("the server at {address}")))
    }

    /// A package that says which image the chaincode is. Whoever builds the image has some time for it.
    fn name_image(&mut self) -> Result<(Package, String), Trouble> {
        let patience = self.operations.servers.start_timeout;
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let Found { plan, .. } = self.found()?;
        let template = self.operations.sources.k8s_image_file.as_deref().unwrap_or_default();
        let image = images::read(template, plan.chaincode(), plan.sequence()).map_err(|error| match &error {
            ImageError::Missing { .. } if since.elapsed() < patience => Trouble::passing(text::chain(&error)),
            ImageError::Missing { .. } => Trouble::definite(format!("{error}, after {patience:?}")),
            _ => Trouble::definite(text::chain(&error)),
        })?;
        let package =
            ccaas::image_package(&plan.label, &image).map_err(|error| Trouble::definite(text::chain(&error)))?;
        Ok((package, format!("image {}@{}", image.name, image.digest)))
    }

    /// Installs on all peers at the same time; those that have the package already are not asked again.
    pub(super) async fn install(&mut self, expected: &PackageId) -> Result<Input, Trouble> {
        let Some(package) = self.package.as_ref() else { return Err(Trouble::passing("there is no package yet")) };
        let peers: Vec<&Peer> =
            self.operations.client.peers().iter().filter(|peer| !self.installed.contains(peer.name())).collect();
        let results = join_all(peers.iter().map(|peer| self.install_on(peer, package, expected))).await;
        let mut trouble: Option<Trouble> = None;
        let mut done = Vec::new();
        for (peer, result) in peers.iter().zip(results) {
            match (result, &trouble) {
                (Ok(()), _) => done.push(peer.name().to_owned()),
                // A definite refusal outweighs a peer that is only down.
                (Err(found @ Trouble::Definite(_)), _) | (Err(found), None) => trouble = Some(found),
                (Err(_), Some(_)) => {}
            }
        }
        self.installed.extend(done);
        trouble.map_or(Ok(Input::Installed), Err)
    }

    async fn install_on(&self, peer: &Peer, package: &Package, expected: &PackageId) -> Result<(), Trouble> {
        let begun = Instant::now();
        self.report(Some(peer.name()), Happening::Started(Step::Install));
        let lifecycle = self.operations.client.peer_lifecycle(peer);
        let installation = lifecycle.ensure_installed(package).await.map_err(|error| lifecycle_trouble(&error))?;
        let detail = match installation {
            Installation::New => expected.to_string(),
            Installation::Already => format!("{expected} was there already"),
        };
        let finished = Happening::Finished { step: Step::Install, elapsed: begun.elapsed(), detail };
        self.report(Some(peer.name()), finished);
        Ok(())
    }

    pub(super) async fn approve(&self, package: &PackageId) -> Result<(Input, String), Trouble> {
        let Found { plan, channel, .. } = self.found()?;
        let approval = channel
            .lifecycle()
            .ensure_approved(&plan.definition, Some(package))
            .await
            .map_err(|error| lifecycle_trouble(&error))?;
        Ok((Input::Approved, approval_in_words(&approval)))
    }
}

fn approval_in_words(approval: &Approval) -> String {
    match approval {
        Approval::New(committed) => format!("block {}", committed.block),
        Approval::Changed { committed, from } => {
            let from: Vec<String> = from.iter().map(ToString::to_string).collect();
            format!("block {}, in place of another approval: {}", committed.block, from.join(", "))
        }
        Approval::Already => "it was approved already".to_owned(),
    }
}
