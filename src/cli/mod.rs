//! The command line: one file per command group.
//!
//! What was typed becomes what is meant, and that is carried out. Standard output is data, standard error is for
//! people. Exit codes: 0 done, 1 failed, 2 the outcome is unknown, 64 usage or configuration. Only here are errors
//! untyped and given hints.

mod channel;
mod check;
mod config;
mod configtx;
mod contract;
mod ctl;
mod demo;
mod devnet;
mod failure;
mod lifecycle;
mod lifecycle_git;
mod logging;
mod orderer;
mod output;
mod pause;
mod plan;
mod proposal;
mod remote;
mod run;
mod settings;
mod signals;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(not(feature = "otlp"))]
#[path = "no_spans.rs"]
mod spans;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::channel::ChannelCommand;
use self::check::Check;
use self::config::Config;
use self::configtx::ConfigtxCommand;
use self::contract::ContractCommand;
use self::demo::Demo;
use self::devnet::DevnetCommand;
use self::failure::Exit;
use self::lifecycle::LifecycleCommand;
use self::orderer::OrdererCommand;
use self::pause::{Pause, Resume};
use self::plan::Plan;
use self::proposal::ProposalCommand;
use self::settings::SettingFlags;

/// Carries out what the organizations of a Hyperledger Fabric network have voted for.
#[derive(Debug, Parser)]
#[command(
    name = "opssc-agent",
    version,
    about,
    after_help = "Settings are environment variables (ADMIN_MSPID, CONNECTION_PROFILE, CHANNEL_NAME, …), or come from a \
                  file (CONFIG_FILE); flags of the same meaning override both. Exit codes: 0 done, 1 failed, 2 outcome unknown, 64 usage or configuration."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until it is told to stop (also without any command)
    Run(SettingFlags),
    /// Check whether an agent with these settings would work
    Check(Check),
    /// Show the settings in effect and from where each has its value
    Config(Config),
    /// Have the agent leave new tasks alone: all, or those of a channel or chaincode
    Pause(Pause),
    /// Have the agent take up again what was paused
    Resume(Resume),
    /// Show what the agent would do, without doing it
    Plan(Plan),
    /// Request proposals, vote on them, look at them, follow them
    #[command(subcommand)]
    Proposal(ProposalCommand),
    /// Join channels with own peers, look at them, fetch their blocks, update their configuration
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Join and leave channels with own orderers
    #[command(subcommand)]
    Orderer(OrdererCommand),
    /// Compute, sign and look at changes of a channel's configuration, in files
    #[command(subcommand)]
    Configtx(Box<ConfigtxCommand>),
    /// Serve contracts to real peers
    #[command(subcommand)]
    Contract(ContractCommand),
    /// Package chaincode, look into packages
    #[command(subcommand)]
    Lifecycle(LifecycleCommand),
    /// Run an embedded network, for trying and testing
    #[command(subcommand)]
    Devnet(DevnetCommand),
    /// Show the main job on an embedded network: from a proposal to an invoked chaincode
    Demo(Demo),
}

/// Runs the program with these arguments (the program's name first) and this lookup of environment variables.
pub fn main<A, T>(arguments: A, environment: impl Fn(&str) -> Option<OsString>) -> ExitCode
where
    A: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for; everything else is a mistake in the usage.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // There is nobody left to tell when this cannot be printed.
            let _ = error.print();
            return exit.into();
        }
    };
    let result = match arguments.command.unwrap_or_else(|| Command::Run(SettingFlags::default())) {
        Command::Run(flags) => run::run(&flags, &environment),
        Command::Check(check) => check::run(&check, &environment),
        Command::Config(config) => config::run(&config, &environment),
        Command::Pause(pause) => pause::pause(&pause, &environment),
        Command::Resume(resume) => pause::resume(&resume, &environment),
        Command::Plan(plan) => plan::run(&plan, &environment),
        Command::Proposal(command) => proposal::run(command, &environment),
        Command::Channel(command) => channel::run(&command, &environment),
        Command::Orderer(command) => orderer::run(&command, &environment),
        Command::Configtx(command) => configtx::run(&command),
        Command::Contract(command) => contract::run(&command, &environment),
        Command::Lifecycle(command) => lifecycle::run(&command, &environment),
        Command::Devnet(command) => devnet::run(command),
        Command::Demo(demo) => demo::run(&demo),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => failure::tell(&error).into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_usage_has_its_own_code() {
        let nothing = |_: &str| None;
        assert_eq!(main(["opssc-agent", "--help"], nothing), ExitCode::from(0));
        assert_eq!(main(["opssc-agent", "dance"], nothing), ExitCode::from(64));
        let wrong = |name: &str| (name == "AGENT_SERVICE_PORT").then(|| OsString::from("many"));
        assert_eq!(main(["opssc-agent"], wrong), ExitCode::from(64));
    }
}
