//! `longshore exec`.

use std::io;

use futures::StreamExt;
use longshore::job::{Exec, ExecEvent, ExecSpec, LogChunk};
use longshore::runner::JobStdin;
use longshore::{Dispatcher, JobId};
use tokio::io::AsyncWriteExt;

use crate::args::ExecArgs;
use crate::detach_keys::DetachKeys;
use crate::error::CliError;
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::signals::Interruption;
use crate::stdin::Input;
use crate::{jobs, output, settings, spec, terminal};

/// The exit code of a command that ends because its output has no reader: 128 and the number of
/// SIGPIPE.
const NO_READER: u8 = 141;

/// Runs a command in a job. The exit code is that of the command.
pub async fn exec(args: &ExecArgs) -> Result<u8, CliError> {
    let mut spec = ExecSpec::new(&args.command);
    spec.env = spec::variables(&args.env_file, &args.env)?;
    spec.working_dir.clone_from(&args.workdir);
    spec.user.clone_from(&args.user);
    spec.stdin = args.interactive;
    if args.tty {
        if args.interactive {
            terminal::check_input()?;
        }
        spec.tty = true;
        spec.terminal_size = terminal::size();
    }
    let mut interruption = Interruption::watch()?;
    let dispatcher = settings::of_recorded(&args.config)?;
    let id = jobs::find_begun(&dispatcher, &args.job).await?.id;
    tokio::select! {
        biased;
        code = interruption.seen() => {
            output::say(&format!("the command may still run in job {id}"));
            Ok(code)
        }
        code = run(&dispatcher, &id, &spec, &args.detach_keys) => code,
    }
}

async fn run(
    dispatcher: &Dispatcher,
    id: &JobId,
    spec: &ExecSpec,
    keys: &DetachKeys,
) -> Result<u8, CliError> {
    let Exec { stdin, events, sizes, .. } = dispatcher.exec(id, spec).await?;
    let mut end = None;
    let chunks = events.filter_map(|event| {
        let chunk = match event {
            Ok(ExecEvent::Output { stream, bytes }) => Some(Ok(LogChunk::data(stream, 0, bytes))),
            Ok(ExecEvent::Exited { code, message }) => {
                end = Some((code, message));
                None
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        std::future::ready(chunk)
    });
    let manner = terminal::Manner { interactive: spec.stdin, keys, redraw: false };
    // Before any output, which the terminal would change otherwise.
    let feeding = match spec.tty {
        true => Feeding::Terminal(terminal::Session::begin(sizes, stdin, manner)?),
        false => Feeding::Stdin(stdin),
    };
    let progress = ProgressLine::new(true);
    let undelivered = tokio::select! {
        biased;
        // The end of the command counts, whether or not it has read its stdin.
        read = Relay::new().pass_on(chunks, &progress, Unread::Stop) => read?,
        left = feed(feeding) => {
            left?;
            output::say(&format!("the command still runs in job {id}"));
            return Ok(0);
        }
    };
    match end {
        Some((code, message)) => {
            message.iter().for_each(|why| output::complain(&format!("not executed: {why}")));
            let code = u8::try_from(code & 0xff).unwrap_or(u8::MAX);
            // As with `run`, the command's own code counts, if it is one of a failure.
            Ok(if code == 0 && !undelivered.is_empty() {
                CliError::failed("").exit_code()
            } else {
                code
            })
        }
        None => Ok(NO_READER),
    }
}

/// What gives the command its input.
enum Feeding<'a> {
    Terminal(terminal::Session<'a>),
    Stdin(Option<JobStdin>),
}

/// Gives the command the stdin of this command, or what is typed here. Returns only if the keys to
/// detach were typed, or the terminal cannot be that of the command.
async fn feed(feeding: Feeding<'_>) -> Result<(), CliError> {
    let stdin = match feeding {
        Feeding::Terminal(session) => return session.until_detached().await,
        Feeding::Stdin(stdin) => stdin,
    };
    if let Some(stdin) = stdin
        && let Err(error) = copy(stdin).await
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        output::warn(&format!("the command may have received only a part of its stdin: {error}"));
    }
    std::future::pending().await
}

async fn copy(mut stdin: JobStdin) -> io::Result<()> {
    if let Some(input) = Input::own() {
        tokio::io::copy(&mut input.reader(), &mut stdin).await?;
    }
    stdin.shutdown().await
}
