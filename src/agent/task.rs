//! What an organization does for one chaincode proposal, as a state machine.
//!
//! Pure: [`State::next`] only says what follows. `chaincode_ops` does the work and feeds the
//! results in. There is no input for a failure that may pass (a peer or the network is down): the state stays, and the
//! work is tried again. So only a definite refusal is ever reported as a failure.

use crate::fabric::names::PackageId;

use super::text;

/// Which of the two tasks of a chaincode proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Validate, fetch, build, package, install, approve, acknowledge: what every organization of the channel does.
    PrepareToDeploy,
    /// Check readiness, commit, notify: what the organization does whose acknowledgement was the last.
    Deploy,
    /// Validate, fetch, build, package, install, approve what was committed without the organization. Nobody waits for
    /// it, so nobody is told.
    CatchUp,
}

impl Kind {
    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrepareToDeploy => "prepareToDeploy",
            Self::Deploy => "deploy",
            Self::CatchUp => "catchUp",
        }
    }
}

/// What the organization tells the ledger in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The package is installed on every own peer and the definition is approved.
    Prepared(PackageId),
    /// The definition is committed.
    Committed,
    /// It cannot be done, and why.
    Failed(String),
}

impl Report {
    /// A failure whose reason is fit for the ledger: cleaned, and not longer than [`text::ERROR_LIMIT`].
    pub fn failed(reason: &str) -> Self {
        Self::Failed(text::bounded(reason, text::ERROR_LIMIT))
    }

    /// Whether it is good news.
    pub fn is_success(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    /// The `data` of the report as the original writes it: `{"packageID":…}`, `{"error":…}` or nothing.
    pub fn data(&self) -> String {
        match self {
            Self::Prepared(package) => serde_json::json!({ "packageID": package.as_str() }).to_string(),
            Self::Committed => String::new(),
            Self::Failed(reason) => serde_json::json!({ "error": reason }).to_string(),
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The report is on the ledger.
    Reported(Report),
    /// There was nothing to do (any more), and why.
    Skipped(String),
}

/// How the package of a proposal comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// It is written out of the settings: no sources.
    Written,
    /// The sources are packaged as they are.
    Sources,
    /// The sources are built first.
    Built,
}

/// Where a task stands: what is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Is the proposal one that can be carried out, and now?
    Validating,
    /// Get the sources.
    Fetching(Route),
    /// Make of the sources what is packaged.
    Building,
    /// Make the package.
    Packaging,
    /// Put this package on every own peer.
    Installing(PackageId),
    /// Approve the definition with this package.
    Approving(PackageId),
    /// Has every organization approved the same definition?
    CheckingReadiness,
    /// Commit the definition.
    Committing,
    /// Tell the ledger, unless the task is one of which it need not know.
    Reporting(Report),
    /// Nothing is left to do.
    Ended(Ending),
}

/// What came out of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The proposal can be carried out, on this route.
    Valid(Route),
    /// The sources are there.
    Fetched,
    /// What is packaged is there.
    Built,
    /// The package was made.
    Packaged(PackageId),
    /// Every own peer has the package.
    Installed,
    /// The definition is approved by the own organization.
    Approved,
    /// The definition can be committed.
    Ready,
    /// The definition is committed: by us just now, or found to be so.
    Committed,
    /// A definite refusal: doing it again would end the same.
    Refused(String),
    /// The report is on the ledger.
    Reported,
    /// The proposal needs nothing from us (any more).
    Obsolete(String),
}

impl State {
    /// How a task of this kind begins.
    pub fn first(kind: Kind) -> Self {
        match kind {
            Kind::PrepareToDeploy | Kind::CatchUp => Self::Validating,
            Kind::Deploy => Self::CheckingReadiness,
        }
    }

    /// Whether nothing is left to do.
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    fn is_work(&self) -> bool {
        !matches!(self, Self::Reporting(_) | Self::Ended(_))
    }

    /// The state after `input`.
    #[must_use]
    pub fn next(self, input: Input) -> Self {
        match (self, input) {
            (Self::Validating, Input::Valid(Route::Written)) => Self::Packaging,
            (Self::Validating, Input::Valid(route)) => Self::Fetching(route),
            (Self::Fetching(Route::Built), Input::Fetched) => Self::Building,
            (Self::Fetching(_), Input::Fetched) | (Self::Building, Input::Built) => Self::Packaging,
            (Self::Packaging, Input::Packaged(package)) => Self::Installing(package),
            (Self::Installing(package), Input::Installed) => Self::Approving(package),
            (Self::Approving(package), Input::Approved) => Self::Reporting(Report::Prepared(package)),
            (Self::CheckingReadiness, Input::Ready) => Self::Committing,
            (Self::CheckingReadiness | Self::Committing, Input::Committed) => Self::Reporting(Report::Committed),
            (Self::Reporting(report), Input::Reported) => Self::Ended(Ending::Reported(report)),
            // What is done cannot be refused, and what is reported is not taken back.
            (unfinished, Input::Refused(reason)) if unfinished.is_work() => Self::Reporting(Report::failed(&reason)),
            (unfinished, Input::Obsolete(reason)) if !unfinished.is_ended() => Self::Ended(Ending::Skipped(reason)),
            // Late or repeated: nothing changes.
            (state, _) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> PackageId {
        PackageId::parse(format!("asset-1:{}", "0".repeat(64))).unwrap()
    }

    /// Straight to the package.
    const VALID: Input = Input::Valid(Route::Written);

    #[track_caller]
    fn check(kind: Kind, inputs: Vec<Input>, expected: &State) {
        let shown = format!("{inputs:?}");
        let reached = inputs.into_iter().fold(State::first(kind), State::next);
        assert_eq!(&reached, expected, "after {shown}");
    }

    #[test]
    fn preparation_goes_step_by_step() {
        use Input::{Approved, Installed, Packaged, Reported};
        let prepare = Kind::PrepareToDeploy;
        check(prepare, vec![], &State::Validating);
        check(prepare, vec![VALID], &State::Packaging);
        check(prepare, vec![VALID, Packaged(package())], &State::Installing(package()));
        check(prepare, vec![VALID, Packaged(package()), Installed], &State::Approving(package()));
        let all = vec![VALID, Packaged(package()), Installed, Approved];
        check(prepare, all.clone(), &State::Reporting(Report::Prepared(package())));
        let ended = State::Ended(Ending::Reported(Report::Prepared(package())));
        check(prepare, [all, vec![Reported]].concat(), &ended);
    }

    #[test]
    fn sources_are_fetched_and_built_first() {
        use Input::{Built, Fetched, Packaged};
        let prepare = Kind::PrepareToDeploy;
        let sources = || Input::Valid(Route::Sources);
        check(prepare, vec![sources()], &State::Fetching(Route::Sources));
        check(prepare, vec![sources(), Built], &State::Fetching(Route::Sources));
        check(prepare, vec![sources(), Fetched], &State::Packaging);
        let built = || Input::Valid(Route::Built);
        check(prepare, vec![built(), Fetched], &State::Building);
        check(prepare, vec![built(), Fetched, Fetched], &State::Building);
        check(prepare, vec![built(), Fetched, Built], &State::Packaging);
        check(prepare, vec![built(), Fetched, Built, Packaged(package())], &State::Installing(package()));
        let failed = || State::Reporting(Report::Failed("no".to_owned()));
        check(prepare, vec![built(), Input::Refused("no".to_owned())], &failed());
        check(prepare, vec![built(), Fetched, Input::Refused("no".to_owned())], &failed());
    }

    #[test]
    fn deployment_goes_step_by_step() {
        use Input::{Committed, Ready, Reported};
        let deploy = Kind::Deploy;
        check(deploy, vec![Ready], &State::Committing);
        check(deploy, vec![Ready, Committed], &State::Reporting(Report::Committed));
        check(deploy, vec![Committed], &State::Reporting(Report::Committed));
        check(deploy, vec![Ready, Committed, Reported], &State::Ended(Ending::Reported(Report::Committed)));
    }

    #[test]
    fn a_refusal_is_reported_unless_the_work_is_done() {
        use Input::{Approved, Installed, Packaged, Ready, Refused, Reported};
        let no = || Refused("no".to_owned());
        let failed = || State::Reporting(Report::Failed("no".to_owned()));
        let prepare = Kind::PrepareToDeploy;
        check(prepare, vec![no()], &failed());
        check(prepare, vec![VALID, no()], &failed());
        check(prepare, vec![VALID, Packaged(package()), no()], &failed());
        check(prepare, vec![VALID, Packaged(package()), Installed, no()], &failed());
        let done = State::Reporting(Report::Prepared(package()));
        check(prepare, vec![VALID, Packaged(package()), Installed, Approved, no()], &done);
        check(Kind::Deploy, vec![no()], &failed());
        check(Kind::Deploy, vec![Ready, no()], &failed());
        let ended = State::Ended(Ending::Reported(Report::Failed("no".to_owned())));
        check(prepare, vec![no(), Reported], &ended);
        check(prepare, vec![no(), Reported, VALID, no(), Input::Obsolete("late".to_owned())], &ended);
    }

    #[test]
    fn what_comes_late_or_twice_changes_nothing() {
        use Input::{Committed, Installed, Packaged, Ready};
        let prepare = Kind::PrepareToDeploy;
        check(prepare, vec![Installed], &State::Validating);
        check(prepare, vec![VALID, VALID, Packaged(package()), VALID], &State::Installing(package()));
        check(prepare, vec![VALID, Ready, Committed], &State::Packaging);
        check(Kind::Deploy, vec![VALID], &State::CheckingReadiness);
    }

    #[test]
    fn an_obsolete_proposal_ends_the_task_anywhere() {
        let gone = || Input::Obsolete("it is committed".to_owned());
        let skipped = || State::Ended(Ending::Skipped("it is committed".to_owned()));
        check(Kind::PrepareToDeploy, vec![gone()], &skipped());
        check(Kind::PrepareToDeploy, vec![VALID, gone()], &skipped());
        check(Kind::PrepareToDeploy, vec![Input::Refused("no".to_owned()), gone()], &skipped());
        check(Kind::Deploy, vec![Input::Ready, gone()], &skipped());
    }

    #[test]
    fn reports_are_written_as_the_original_writes_them() {
        let id = format!("asset-1:{}", "0".repeat(64));
        assert_eq!(Report::Prepared(package()).data(), format!("{{\"packageID\":\"{id}\"}}"));
        assert_eq!(Report::failed("say \"no\"\u{1b}").data(), "{\"error\":\"say \\\"no\\\"\u{fffd}\"}");
        assert_eq!(Report::Committed.data(), "");
        let long = Report::failed(&"x".repeat(1 << 20));
        assert!(long.data().len() < 1100 && !long.is_success());
    }
}
