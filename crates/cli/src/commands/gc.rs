//! `longshore gc`.

use longshore::dispatch::Reaped;
use longshore::job::HumanDuration;

use crate::args::GcArgs;
use crate::error::CliError;
use crate::{leftovers, output, settings};

/// Removes what is left over, or shows what would be removed: one line each.
pub async fn gc(args: &GcArgs) -> Result<u8, CliError> {
    let (_, dispatcher) = settings::assemble(&args.config, false)?;
    let reaped = dispatcher.gc(args.older_than.map(HumanDuration::get), args.dry_run).await?;
    leftovers::warn_of_unasked(&reaped);
    output::print(&render(&reaped))
}

fn render(reaped: &Reaped) -> String {
    let lines = reaped.leftovers.iter().map(|left| leftovers::describe(left) + "\n");
    lines.collect()
}
