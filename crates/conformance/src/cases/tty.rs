//! Jobs and commands with a terminal.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_core::{
    AttachOutput, AttachSpec, Attachment, Capability, ExecEvent, ExecSpec, LogChunk, LogStream,
    Outcome, TerminalSize,
};
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, Run};
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, Failure, check, same};
use crate::output::Output;

cases! { "tty":
    a_job_has_a_terminal_to_which_processes_attach_one_after_the_other [Can(Capability::Tty)],
    a_command_has_a_terminal_of_its_own [Can(Capability::Tty), Can(Capability::Exec)],
}

/// Waits for a size that no terminal has by itself, and then for a line. The question has no newline.
const SCRIPT: &str = "test -t 0 && test -t 1 && test -t 2 && echo ready; \
    until [ \"$(stty size 2>/dev/null)\" = '31 97' ]; do sleep 0.05; done; \
    printf 'name? '; read -r name; echo \"it is $name, $TERM\" >&2; read -r name; exit 3";

const SIZE: TerminalSize = TerminalSize::new(97, 31);

async fn attach(bench: &Bench, job: &Run) -> Checked<Attachment> {
    let spec = AttachSpec::default().output(AttachOutput::FromNow).stdin();
    let attached = bench.wait("attach to answer", job.runner.attach(job.handle(), &spec)).await?;
    attached.map_err(|e| Failure::from(e).while_doing("failed to attach to the job"))
}

type Chunks = BoxStream<'static, longshore_core::Result<LogChunk>>;

/// Reads `output` until it contains `text`, or to its end if that is `None`. Returns what was read.
async fn read(bench: &Bench, output: &mut Chunks, text: Option<&str>) -> Checked<String> {
    let reading = async {
        let mut read = Output::default();
        while let Some(chunk) = output.next().await {
            let LogChunk::Data { stream, bytes, .. } = chunk? else { continue };
            same("the stream of a terminal", &stream, &LogStream::Stdout)?;
            read.take(stream, &bytes);
            if text.is_some_and(|text| read.text().contains(text)) {
                break;
            }
        }
        Ok::<_, Failure>(read.text())
    };
    let read = bench.wait("the terminal to show something", reading).await??;
    check(text.is_none_or(|text| read.contains(text)), || format!("{read:?} lacks {text:?}"))?;
    Ok(read)
}

async fn a_job_has_a_terminal_to_which_processes_attach_one_after_the_other(
    bench: Arc<Bench>,
) -> Checked {
    let mut spec = bench.fixture().job(SCRIPT);
    (spec.tty, spec.stdin) = (true, true);
    let job = bench.start(spec).await?;
    job.says("ready").await?;
    let first = attach(&bench, &job).await?;
    let mut output = first.output.ok_or_else(|| Failure::new("it has no output"))?;
    let sizes = first.sizes.ok_or_else(|| Failure::new("it has no size"))?;
    sizes.set(SIZE);
    read(&bench, &mut output, Some("name? ")).await?;
    let mut stdin = first.stdin.ok_or_else(|| Failure::new("it takes no input"))?;
    let typing = async {
        stdin.write_all(b"x\n").await?;
        stdin.flush().await
    };
    bench.wait("the terminal to take a line", typing).await??;
    let answer = read(&bench, &mut output, Some("it is x, xterm\r\n")).await?;
    check(answer.contains("x\r\n"), || format!("the terminal does not echo: {answer:?}"))?;
    // The job gets no end of file by that.
    drop((stdin, output, sizes));
    // Another instance can attach too.
    let other = job.seen_by(bench.runner().await?);
    let second = attach(&bench, &other).await?;
    let mut stdin = second.stdin.ok_or_else(|| Failure::new("it takes no input any more"))?;
    bench.wait("the terminal to take a line", stdin.write_all(b"y\n")).await??;
    let flushed = bench.wait("the terminal to take a line", stdin.flush()).await?;
    flushed?;
    let mut output = second.output.ok_or_else(|| Failure::new("it has no output"))?;
    let rest = read(&bench, &mut output, None).await?;
    check(!rest.contains("ready"), || format!("output from before it attached: {rest:?}"))?;
    let finished = job.finish().await?;
    same("the outcome", &finished.report.outcome, &Outcome::Exited { code: 3, signal: None })?;
    // A node's log may have lines without the carriage returns of the terminal.
    let text = finished.output.text().replace("\r\n", "\n");
    same("the output", &text, &"ready\nname? x\nit is x, xterm\ny\n".to_owned())?;
    check(finished.output.stderr.is_empty(), || "a terminal has one stream".to_owned())
}

async fn a_command_has_a_terminal_of_its_own(bench: Arc<Bench>) -> Checked {
    let job = bench.start_script("echo ready; while :; do sleep 0.05; done").await?;
    job.says("ready").await?;
    let mut spec = ExecSpec::new(["sh", "-c", SCRIPT]);
    (spec.tty, spec.stdin) = (true, true);
    let started = bench.wait("exec to answer", job.runner.exec(job.handle(), &spec)).await?;
    let mut command =
        started.map_err(|e| Failure::from(e).while_doing("failed to run a command in the job"))?;
    let sizes = command.sizes.ok_or_else(|| Failure::new("it has no size"))?;
    sizes.set(SIZE);
    let mut stdin = command.stdin.ok_or_else(|| Failure::new("it takes no input"))?;
    let typing = async {
        stdin.write_all(b"x\ny\n").await?;
        stdin.flush().await
    };
    bench.wait("the terminal to take two lines", typing).await??;
    let reading = async {
        let (mut output, mut end) = (Output::default(), None);
        while let Some(event) = command.events.next().await {
            match event? {
                ExecEvent::Output { stream, bytes } => output.take(stream, &bytes),
                ExecEvent::Exited { code, .. } => end = Some(code),
                other => return Err(Failure::new(format!("an unknown event: {other:?}"))),
            }
        }
        Ok::<_, Failure>((output, end))
    };
    let (output, code) = bench.wait("the command to end", reading).await??;
    same("the exit code", &code, &Some(3))?;
    let text = output.text();
    check(text.contains("it is x, xterm\r\n"), || format!("its terminal shows {text:?}"))?;
    check(output.stderr.is_empty(), || "a terminal has one stream".to_owned())?;
    job.runner.remove(job.handle()).await?;
    Ok(())
}
