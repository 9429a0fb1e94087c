//! One file a command; here they are told apart.

mod ablation;
mod agents;
mod compare;
mod experiments;
mod fault;
mod faults;
mod gate;
mod halt;
mod heal;
mod init;
mod journal;
mod limit;
mod load;
mod man;
mod matrix;
mod planned;
mod proxy;
mod prune;
mod recover;
mod run;
mod sandbox;
mod watch;

use crate::{
    cli::{Agents, AgentsCommand, Cli, Command},
    exit::Failure,
    output,
};
use clap::CommandFactory;

/// The exit code of a command that did what it was asked.
pub type Outcome = Result<u8, Failure>;

/// Does what was asked for.
pub async fn carry_out(cli: &Cli) -> Outcome {
    let common = &cli.common;
    match &cli.command {
        Command::Run(args) => run::run(args, common).await,
        Command::Gate(args) => gate::gate(args, common).await,
        Command::Limit(args) => limit::limit(args, common).await,
        Command::Compare(args) => compare::compare(args, common).await,
        Command::Man(args) => man::man(args),
        Command::Init(args) => init::init(args, common).await,
        Command::Load(args) => load::load(args, common).await,
        Command::Matrix(args) => matrix::matrix(args, common).await,
        Command::Plan(args) => experiments::plan(args, common).await,
        Command::Validate(args) => experiments::validate(args, common),
        Command::Schema => {
            output::json(&squall_engine::schema::experiment_schema());
            Ok(0)
        }
        Command::Faults { kind, agent } => faults::faults(kind.as_deref(), agent, common).await,
        Command::Agents(Agents { choice, command: None }) => agents::agents(choice, common).await,
        Command::Agents(Agents { command: Some(AgentsCommand::Watch { choice, every }), .. }) => {
            watch::watch(choice, *every, common).await
        }
        Command::Proxy(command) => proxy::proxy(command, common).await,
        Command::Fault(command) => fault::fault(command, common).await,
        Command::Heal(args) => heal::heal(args, common).await,
        Command::Halt(args) => halt::halt(args, common).await,
        Command::History(args) => journal::history(args, common).await,
        Command::Show(args) => journal::show(args, common).await,
        Command::Report(args) => journal::report(args).await,
        Command::Sandbox(args) => sandbox::sandbox(args, common).await,
        Command::Recover(args) => recover::recover(args, common).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "squall", &mut script);
            output::result(String::from_utf8_lossy(&script).trim_end());
            Ok(0)
        }
    }
}
