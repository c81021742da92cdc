//! `longshore gc`.

use std::fmt::Write;

use longshore::{Fate, HumanDuration, Reaped};

use crate::args::GcArgs;
use crate::error::CliError;
use crate::{output, settings};

/// Removes what is left over, or shows what would be removed: one line each.
pub async fn gc(args: &GcArgs) -> Result<u8, CliError> {
    let (_, dispatcher) = settings::assemble(&args.config, false)?;
    let reaped = dispatcher.gc(args.older_than.map(HumanDuration::get), args.dry_run).await?;
    for (runner, why) in &reaped.unasked {
        output::warn(&format!("{runner} could not be queried: {why}"));
    }
    output::print(&render(&reaped))
}

fn render(reaped: &Reaped) -> String {
    let mut text = String::new();
    for left in &reaped.leftovers {
        let fate = match &left.fate {
            Fate::Remove => "would be removed".to_owned(),
            Fate::Removed => "removed".to_owned(),
            Fate::Adopted => "adopted".to_owned(),
            Fate::Kept => "kept".to_owned(),
            Fate::Failed(why) => format!("failed to remove it: {why}"),
            _ => "not known".to_owned(),
        };
        let _ = writeln!(text, "{} {}: {}: {fate}", left.runner, left.attempt, left.why);
    }
    text
}
