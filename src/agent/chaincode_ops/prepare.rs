//! The first task of a chaincode proposal: validate, fetch, build, package, install, approve.
//!
//! What the sources are made into is up to [`sources`](super::super::sources); here it is put on the peers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::client::lifecycle::{Approval, CommittedDefinition, Installation};
use crate::client::{Channel, Peer};
use crate::fabric::names::PackageId;
use crate::fabric::package::{Package, ccaas};
use crate::opssc::chaincode_ops::PackageType;
use crate::source::git::{Progressed, Repository};

use super::super::images::{self, ImageError};
use super::super::journal::StepResult;
use super::super::plan::{self, CatchingUp};
use super::super::progress::{Happening, Step};
use super::super::sources::{Built, SourcesError, Watch};
use super::super::task::{Input, Kind, Route};
use super::super::text;
use super::super::trouble::Trouble;
use super::{Found, Task, lifecycle_trouble};

/// How long an own peer that is down is waited for while another one has the package.
const PATIENCE: Duration = Duration::from_secs(20);

impl Task<'_> {
    pub(super) async fn validate(&mut self) -> Result<(Input, String), Trouble> {
        if let Some(input) = self.look().await? {
            return Ok((input, String::new()));
        }
        let Found { plan, channel, .. } = self.found()?;
        let package = &plan.package;
        let route = self.route(&package.package_type)?;
        // The same repository has one name only, however it was written.
        let repository = match Repository::parse(&package.repository) {
            Ok(repository) => repository.to_string(),
            Err(_) if route == Route::Written => package.repository.clone(),
            Err(error) => return Err(Trouble::definite(error.to_string())),
        };
        let allow = &self.operations.sources.allow;
        allow
            .check(plan.channel.as_str(), package.package_type.as_str(), &repository)
            .map_err(|rule| Trouble::definite(rule.to_string()))?;
        self.check_membership(channel).await?;
        let committed = channel.lifecycle().committed(plan.chaincode()).await;
        let committed = committed.map_err(|error| lifecycle_trouble(&error))?;
        if self.kind == Kind::CatchUp {
            self.take_over(committed.as_ref());
        }
        let Found { plan, .. } = self.found()?;
        let committed = committed.map(|committed| plan::Committed {
            sequence: committed.definition.sequence,
            same_content: plan.definition.is_same(&committed.definition),
            approved: committed.approvals.get(self.operations.client.msp_id()).copied().unwrap_or(false),
        });
        match self.kind {
            Kind::CatchUp => match plan::check_catching_up(plan.sequence(), committed).map_err(Trouble::doubtful)? {
                CatchingUp::Due => {}
                CatchingUp::Over(reason) => return Ok((Input::Obsolete(reason), String::new())),
            },
            Kind::PrepareToDeploy | Kind::Deploy => {
                plan::check_sequence(plan.sequence(), committed).map_err(Trouble::doubtful)?;
            }
        }
        let detail = format!("{} sequence {} on {}", plan.chaincode(), plan.sequence(), plan.channel);
        Ok((Input::Valid(route), detail))
    }

    /// What is committed is approved as it is, in whichever encoding its organizations agreed on.
    fn take_over(&mut self, committed: Option<&CommittedDefinition>) {
        if let (Some(found), Some(committed)) = (&mut self.found, committed)
            && let Some(otherwise) = found.otherwise.take_if(|otherwise| otherwise.is_same(&committed.definition))
        {
            found.plan.definition = otherwise;
        }
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
            // What its server or image was made of cannot be seen; that somebody signed the proposed commit, can.
            PackageType::Ccaas | PackageType::K8s if self.operations.sources.allowed_signers.is_some() => {
                Ok(Route::Sources)
            }
            PackageType::Ccaas | PackageType::K8s => Ok(Route::Written),
            PackageType::Golang | PackageType::Javascript | PackageType::Java => Ok(Route::Sources),
            PackageType::Typescript => Ok(Route::Built),
            other => Err(Trouble::definite(format!(
                "package type {} is not known to this agent",
                text::bounded(other.as_str(), 40)
            ))),
        }
    }

    /// Every own peer that answers must have joined the channel, and one must answer; a peer's own answer to a call in a
    /// channel that it is not in is harder to understand.
    async fn check_membership(&self, channel: &Channel) -> Result<(), Trouble> {
        let client = &self.operations.client;
        let answers = join_all(client.peers().iter().map(|peer| client.joined_channels(peer))).await;
        let (mut members, mut trouble) = (0, None);
        for (peer, joined) in client.peers().iter().zip(answers) {
            match joined {
                Ok(joined) if joined.contains(channel.name()) => members += 1,
                Ok(_) => {
                    let peer = peer.name();
                    return Err(Trouble::doubtful(format!("{peer} has not joined channel {}", channel.name())));
                }
                Err(error) if !error.is_retryable() => return Err(Trouble::of(&error, false)),
                Err(error) => trouble = Some(Trouble::of(&error, true)),
            }
        }
        trouble.filter(|_| members == 0).map_or(Ok(()), Err)
    }

    pub(super) async fn fetch(&mut self) -> Result<(Input, String), Trouble> {
        let operations = self.operations;
        let package = &self.found()?.plan.package;
        let watch = Watch::new(|progressed: Progressed| {
            let detail = shown(progressed);
            self.report(None, Happening::Advanced { step: Step::Fetch, detail });
        });
        let fetched = operations.workshop.fetch(package, &watch, &operations.stop).await;
        let last = watch.last();
        self.report(None, Happening::Fetched { objects: last.objects, bytes: last.received_bytes });
        let fetched = fetched.map_err(|error| self.sources_trouble(&error))?;
        let detail = format!("commit {}, {}", fetched.commit(), shown(last));
        self.waiting_since = None;
        self.fetched = Some(Arc::new(fetched));
        Ok((Input::Fetched, detail))
    }

    pub(super) async fn build(&mut self) -> Result<(Input, String), Trouble> {
        let fetched = self.fetched.clone().ok_or_else(lost)?;
        let built = self.operations.workshop.build(fetched, &self.operations.stop).await;
        let (built, detail) = built.map_err(|error| self.sources_trouble(&error))?;
        self.built = Some(Arc::new(built));
        Ok((Input::Built, detail))
    }

    pub(super) async fn package(&mut self) -> Result<(Input, String), Trouble> {
        let (package, from) = match self.found()?.plan.package.package_type {
            PackageType::Ccaas => self.name_server()?,
            PackageType::K8s => self.name_image()?,
            _ => self.package_sources().await?,
        };
        let id = package.id().clone();
        self.package = Some(package);
        // The sources are not needed any more, and others may want their place.
        (self.fetched, self.built, self.waiting_since) = (None, None, None);
        Ok((Input::Packaged(id.clone()), format!("{id} {from}")))
    }

    async fn package_sources(&mut self) -> Result<(Package, String), Trouble> {
        let built = match (&self.built, &self.fetched) {
            (Some(built), _) => Arc::clone(built),
            (None, Some(fetched)) => Arc::new(Built::nothing(Arc::clone(fetched))),
            (None, None) => return Err(lost()),
        };
        let Found { plan, .. } = self.found()?;
        let package = self.operations.workshop.package(built, &plan.package.package_type, &plan.label).await;
        let package = package.map_err(|error| self.sources_trouble(&error))?;
        let detail = format!("of {} bytes", package.bytes().len());
        Ok((package, detail))
    }

    /// What a failure to make a package of sources means here.
    fn sources_trouble(&mut self, error: &SourcesError) -> Trouble {
        let reason = text::chain(error);
        if !error.may_pass() {
            return Trouble::definite(reason);
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let patience = self.operations.sources.retry_time;
        // Who waits for ever tells nobody that the proposal cannot go on.
        if self.operations.stop.is_cancelled() || since.elapsed() < patience {
            return Trouble::passing(reason);
        }
        Trouble::definite(format!("{reason}, for {patience:?}"))
    }

    /// A package that says where the chaincode's server is.
    fn name_server(&self) -> Result<(Package, String), Trouble> {
        let Found { plan, .. } = self.found()?;
        let address = self.operations.servers.address_of(plan.chaincode(), plan.sequence());
        let package = ccaas::package(&plan.label, &ccaas::Connection::plain(address.as_str()))
            .map_err(|error| Trouble::definite(text::chain(&error)))?;
        Ok((package, format!("for the server at {address}")))
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
        Ok((package, format!("for image {}@{}", image.name, image.digest)))
    }

    /// Installs on all peers at the same time; those that have the package already are not asked again.
    pub(super) async fn install(&mut self, expected: &PackageId) -> Result<Input, Trouble> {
        let Some(package) = self.package.as_ref() else { return Err(Trouble::passing("there is no package yet")) };
        let peers: Vec<&Peer> =
            self.operations.client.peers().iter().filter(|peer| !self.installed.contains(peer.name())).collect();
        let results = join_all(peers.iter().map(|peer| {
            let span = tracing::info_span!("peer", peer = peer.name());
            self.install_on(peer, package, expected).instrument(span)
        }));
        let results = results.await;
        let mut trouble: Option<Trouble> = None;
        let mut done = Vec::new();
        for (peer, result) in peers.iter().zip(results) {
            match (result, &trouble) {
                (Ok(()), _) => done.push(peer.name().to_owned()),
                // A definite refusal outweighs a peer that is only down.
                (Err(found @ Trouble::Definite(_)), _) | (Err(found), None) => {
                    self.fell_short(peer, &found);
                    trouble = Some(found);
                }
                (Err(found), Some(_)) => self.fell_short(peer, &found),
            }
        }
        self.installed.extend(done);
        let Some(trouble) = trouble else { return Ok(Input::Installed) };
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let patience = if self.kind == Kind::CatchUp { Duration::ZERO } else { PATIENCE };
        if matches!(trouble, Trouble::Passing(_)) && !self.installed.is_empty() && since.elapsed() >= patience {
            // One peer is enough to go on; bootstrap copies the package to the others when they are back.
            let reason = trouble.reason();
            tracing::warn!(reason, "going on without an own peer, which gets the package later");
            self.operations.bells.bootstrap.notify_one();
            return Ok(Input::Installed);
        }
        Err(trouble)
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

    fn fell_short(&self, peer: &Peer, trouble: &Trouble) {
        let is_refused = matches!(trouble, Trouble::Definite(_));
        let result = if is_refused { StepResult::Refused } else { StepResult::Waiting };
        self.account.fell_short(Step::Install, peer.name(), result, trouble.reason());
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

/// Every way to a package goes by its sources.
fn lost() -> Trouble {
    Trouble::definite("the sources are not there any more")
}

fn shown(progressed: Progressed) -> String {
    let Progressed { objects, objects_expected, received_bytes } = progressed;
    if objects < objects_expected {
        return format!("{objects} of {objects_expected} objects, {received_bytes} bytes");
    }
    format!("{objects} objects, {received_bytes} bytes")
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
