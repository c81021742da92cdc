//! `exec`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use longshore_core::{Capability, ErrorKind, Exec, ExecEvent, ExecSpec};
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, Run};
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, Failure, check, same, same_bytes};
use crate::output::Output;

cases! { "exec":
    a_command_has_the_jobs_environment_and_its_own_streams_and_code [Can(Capability::Exec)],
    a_command_ends_with_the_job_which_then_takes_none [Can(Capability::Exec)],
}

/// More than the buffers of pipes and sockets on the way hold.
const MUCH: usize = 1 << 20;

async fn exec(bench: &Bench, job: &Run, spec: &ExecSpec) -> Checked<Exec> {
    let started = bench.wait("exec to answer", job.runner.exec(job.handle(), spec)).await?;
    started.map_err(|e| Failure::from(e).while_doing("failed to run a command in the job"))
}

/// Gives the command `stdin` and reads its output to its end. Returns also its exit code.
async fn finished(bench: &Bench, command: Exec, input: &[u8]) -> Checked<(Output, i32)> {
    let Exec { stdin, mut events, .. } = command;
    let feeding = async {
        if let Some(mut stdin) = stdin {
            stdin.write_all(input).await?;
            stdin.shutdown().await?;
        }
        Ok::<_, Failure>(())
    };
    let reading = async {
        let (mut output, mut code) = (Output::default(), None);
        while let Some(event) = events.next().await {
            check(code.is_none(), || format!("{event:?} came after the end"))?;
            match event? {
                ExecEvent::Output { stream, bytes } => output.take(stream, &bytes),
                ExecEvent::Exited { code: its, .. } => code = Some(its),
                other => return Err(Failure::new(format!("an unknown event: {other:?}"))),
            }
        }
        let code = code.ok_or_else(|| Failure::new("the command never ended"))?;
        Ok((output, code))
    };
    let both = async { futures::try_join!(feeding, reading) };
    Ok(bench.wait("the command to end", both).await??.1)
}

async fn a_command_has_the_jobs_environment_and_its_own_streams_and_code(
    bench: Arc<Bench>,
) -> Checked {
    let mut spec = bench.fixture().job("echo ready; while :; do sleep 0.05; done");
    spec.env.insert("OF_THE_JOB".to_owned(), "its value".to_owned());
    let job = bench.start(spec).await?;
    job.says("ready").await?;
    // Another instance runs them.
    let other = job.seen_by(bench.runner().await?);
    let script = "cat; echo \"$OF_THE_JOB\"; echo over >&2; exit 7";
    let mut spec = ExecSpec::new(["sh", "-c", script]);
    spec.stdin = true;
    let input: Vec<u8> = (0_u8..=250).cycle().take(MUCH).collect();
    let command = exec(&bench, &other, &spec).await?;
    let (output, code) = finished(&bench, command, &input).await?;
    same("the exit code", &code, &7)?;
    same_bytes("stdout", &output.stdout, &[&input[..], b"its value\n"].concat())?;
    same_bytes("stderr", &output.stderr, b"over\n")?;
    let missing = exec(&bench, &other, &ExecSpec::new(["no-such-command"])).await?;
    let (output, code) = finished(&bench, missing, b"").await?;
    same("the exit code of a command that does not exist", &code, &127)?;
    same("its output", &output, &Output::default())?;
    bench.wait("cancel to answer", job.runner.cancel(job.handle(), Duration::ZERO)).await??;
    same("the job's output", &job.finish().await?.output.text(), &"ready\n".to_owned())
}

async fn a_command_ends_with_the_job_which_then_takes_none(bench: Arc<Bench>) -> Checked {
    let job = bench.start_script("echo ready; while :; do sleep 0.05; done").await?;
    job.says("ready").await?;
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let mut command = exec(&bench, &job, &ExecSpec::new(["sh", "-c", script])).await?;
    let first = bench.wait("the command to write", command.events.next()).await?;
    check(matches!(first, Some(Ok(ExecEvent::Output { .. }))), || format!("{first:?}"))?;
    bench.wait("cancel to answer", job.runner.cancel(job.handle(), Duration::ZERO)).await??;
    job.end().await?;
    let ended = async {
        let mut last = None;
        while let Some(event) = command.events.next().await {
            last = Some(event);
        }
        last
    };
    let last = bench.wait("the command to end with the job", ended).await?;
    let is_success = matches!(last, Some(Ok(ExecEvent::Exited { code: 0, .. })));
    check(!is_success, || format!("it ended as {last:?}"))?;
    let spec = ExecSpec::new(["true"]);
    let late = job.runner.exec(job.handle(), &spec);
    let late = bench.wait("exec to answer", late).await?;
    let kind = late.as_ref().map_err(longshore_core::Error::kind).err();
    same("the refusal of an ended job", &kind, &Some(ErrorKind::NotFound))
}
