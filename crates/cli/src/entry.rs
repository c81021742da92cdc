//! The start of the command.

use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::CompleteEnv;

use crate::args::{Cli, Command, ConfigCommand};
use crate::error::CliError;
use crate::{command_line, commands, complete, heap, output, resources};

/// Runs the command with the arguments of this process, and returns its exit code.
pub fn main() -> ExitCode {
    longshore::init();
    run()
}

/// Runs the command, if this process is one. It is a function of its own, as each process has all pages of
/// the stack that the function which calls `init` may need, and a supervisor never returns from there.
#[inline(never)]
fn run() -> ExitCode {
    heap::share();
    CompleteEnv::with_factory(Cli::command).var(complete::VARIABLE).complete();
    longshore::raise_limits();
    let cli = command_line::parse(std::env::args_os().collect())
        .unwrap_or_else(|error| output::usage(&error));
    output::log_to_stderr(cli.verbose);
    match execute(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<u8, CliError> {
    match command {
        Command::Run(args) => block_on(commands::run::run(&args)),
        Command::Ps(args) => block_on(commands::ps::ps(&args)),
        Command::Wait(args) => block_on(commands::wait::wait(&args)),
        Command::Attach(args) => block_on(commands::attach::attach(&args)),
        Command::Exec(args) => block_on(commands::exec::exec(&args)),
        Command::Logs(args) => block_on(commands::logs::logs(&args)),
        Command::Inspect(args) => block_on(commands::inspect::inspect(&args)),
        Command::Cancel(args) => block_on(commands::cancel::cancel(&args.open, args.grace)),
        Command::Kill(args) => block_on(commands::kill::kill(&args)),
        Command::Rm(args) => block_on(commands::rm::rm(&args)),
        Command::Gc(args) => block_on(commands::gc::gc(&args)),
        Command::Plan(args) => block_on(commands::plan::plan(&args)),
        Command::Doctor(args) => block_on(commands::doctor::doctor(&args)),
        Command::Config(ConfigCommand::Show(args)) => commands::config::show(&args),
        Command::Config(ConfigCommand::Schema) => commands::config::schema(),
        Command::Completions { shell } => commands::completions::print(shell),
        Command::Man(args) => commands::man::man(&args),
    }
}

/// Runs `future` on one thread, which is enough for one job at a time. Blocking operations (stdout
/// into a full pipe) have threads of their own.
fn block_on<T>(future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    resources::check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // One thread for blocking operations is started now and stays: without one, the runtime
        // panics if the system has no further thread, and with one, it waits for it.
        .thread_keep_alive(Duration::MAX)
        .build()
        .map_err(|e| CliError::failed(format!("failed to start the runtime: {e}")))?;
    drop(runtime.spawn_blocking(|| ()));
    let result = runtime.block_on(future);
    // A write to a pipe without a reader may block its thread forever.
    runtime.shutdown_background();
    result
}
