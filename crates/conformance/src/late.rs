//! Waits for starts that must not happen.

use tokio::time::sleep;

use crate::bench::Bench;
use crate::failure::Checked;
use crate::pace::Latency;
use crate::wait::until;

/// Waits for as long as a start that must not happen could take to show. Such a start was requested
/// before this call. So the wait lasts until a job that is launched now has shown its own start,
/// however slow the machine is at the moment, and for one more start.
pub(crate) async fn wait_for_late_starts(bench: &Bench, latency: Latency) -> Checked {
    let (spec, directory) =
        bench.job_with_directory("echo started > \"$LONGSHORE_JOB_DIR/output/witness\"")?;
    bench.start(spec).await.map_err(|e| e.while_doing("failed to launch a job that must start"))?;
    until(bench.patience(), "a job that launch reported as started to run", || async {
        Ok((directory.lines("witness")? > 0).then_some(()))
    })
    .await?;
    bench.note(format!("it waited {:?} for a late start", latency.late()));
    // No event announces that nothing happens.
    sleep(latency.late()).await;
    Ok(())
}
