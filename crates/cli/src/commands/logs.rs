//! `longshore logs`.

use std::convert::Infallible;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use longshore::job::{LogChunk, LogPosition, LogWindow, TimedChunk};
use longshore::{Dispatcher, ErrorKind, JobId};

use crate::args::LogsArgs;
use crate::error::{COULD_NOT_RUN, CliError};
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::stamp::Stamp;
use crate::tail::Tail;
use crate::{jobs, output, settings};

/// Prints the output of jobs, one after the other: what exists now, or all of it, to each job's end.
/// The exit code is 125 if not all of it could be read and written.
pub async fn logs(args: &LogsArgs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.some.config)?;
    let mut code = 0;
    for name in &args.some.jobs {
        match print(&dispatcher, name, args).await {
            Ok(true) => {}
            Ok(false) => code = COULD_NOT_RUN,
            Err(error) => {
                output::complain(&error);
                code = error.exit_code();
            }
        }
    }
    Ok(code)
}

/// Prints a job's output. Returns whether all of it was written.
async fn print(dispatcher: &Dispatcher, name: &str, args: &LogsArgs) -> Result<bool, CliError> {
    // Settles the job first: a job that was abandoned before its start would be followed forever.
    let job = jobs::find_begun(dispatcher, name).await?.id;
    let mut reading = Reading { dispatcher, job, args, stamp: Stamp::default() };
    let Some(lines) = args.tail else {
        return reading.pass_on(LogPosition::START, args.follow).await;
    };
    let (tail, end) = match reading.tail(lines, true).await {
        // Of an older version, or of a runner that does not know the times.
        Err(error) if error.kind() == ErrorKind::Unsupported && !reading.needs_times() => {
            reading.tail(lines, false).await?
        }
        read => read?,
    };
    let chunks = stream::iter(tail.finish().into_iter().map(Ok::<_, Infallible>));
    let progress = ProgressLine::new(true);
    let Ok(failures) = Relay::new().pass_on(chunks, &progress, Unread::Stop).await;
    Ok(failures.is_empty() && (!args.follow || reading.pass_on(end, true).await?))
}

/// Reads the output of one job.
struct Reading<'a> {
    dispatcher: &'a Dispatcher,
    job: JobId,
    args: &'a LogsArgs,
    stamp: Stamp,
}

impl Reading<'_> {
    /// Whether the output is of no use without its times.
    const fn needs_times(&self) -> bool {
        let LogsArgs { since, until, timestamps, .. } = self.args;
        since.is_some() || until.is_some() || *timestamps
    }

    /// Returns the last `lines` of what exists now, and the position behind them.
    async fn tail(
        &mut self,
        lines: usize,
        with_times: bool,
    ) -> longshore::Result<(Tail, LogPosition)> {
        let (mut tail, mut end) = (Tail::new(lines), LogPosition::START);
        let mut chunks = self.chunks(LogPosition::START, false, with_times).await?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            end.advance(&chunk.chunk);
            tail.push(chunk.at, &self.shown(&chunk));
        }
        Ok((tail, end))
    }

    /// Returns the output from `from` on. Every runner has it without times.
    async fn chunks(
        &self,
        from: LogPosition,
        follow: bool,
        with_times: bool,
    ) -> longshore::Result<BoxStream<'static, longshore::Result<TimedChunk>>> {
        let LogsArgs { since, until, .. } = *self.args;
        if !with_times {
            let chunks = self.dispatcher.logs(&self.job, from, follow).await?;
            return Ok(chunks.map(|item| item.map(|chunk| TimedChunk::new(None, chunk))).boxed());
        }
        let window = LogWindow { since, until };
        self.dispatcher.timed_logs(&self.job, from, window, follow).await
    }

    /// Returns a piece of output as it is printed.
    fn shown(&mut self, chunk: &TimedChunk) -> LogChunk {
        if self.args.timestamps { self.stamp.add(chunk) } else { chunk.chunk.clone() }
    }

    async fn pass_on(&mut self, from: LogPosition, follow: bool) -> Result<bool, CliError> {
        let chunks = self.chunks(from, follow, self.needs_times()).await?;
        let chunks = chunks.map(|item| item.map(|chunk| self.shown(&chunk)));
        let progress = ProgressLine::new(true);
        Ok(Relay::new().pass_on(chunks, &progress, Unread::Stop).await?.is_empty())
    }
}
