//! The results of all backends, side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use super::play::{Played, Seen};
use super::station::ContainerBackend;
use super::table::Cell;

/// The cells and the result of each on each backend.
#[derive(Debug)]
pub(crate) struct Matrix {
    cells: Vec<Cell>,
    played: Mutex<BTreeMap<(ContainerBackend, Cell), Entry>>,
    notes: Mutex<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Entry {
    Played(Played),
    /// It could not be set up, or took too long.
    Broken(String),
}

impl Matrix {
    pub(crate) fn new(cells: Vec<Cell>) -> Self {
        Self { cells, played: Mutex::default(), notes: Mutex::default() }
    }

    /// Adds a line below the table.
    pub(crate) fn note(&self, line: String) {
        self.notes.lock().push(line);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ContainerBackend, Cell), Entry>> {
        self.played.lock()
    }

    /// Records the result of `cell` on `place`. Returns an error that describes what is wrong with
    /// it.
    pub(crate) fn keep(
        &self,
        place: ContainerBackend,
        cell: Cell,
        played: anyhow::Result<Played>,
    ) -> Result<(), String> {
        let (entry, verdict) = match played {
            Ok(played) => {
                let differs = played.differs(cell);
                (Entry::Played(played), differs.map_or(Ok(()), Err))
            }
            Err(error) => {
                let text = format!("{error:#}");
                (Entry::Broken(text.clone()), Err(text))
            }
        };
        self.lock().insert((place, cell), entry);
        verdict
    }

    /// Returns the table: a line for each cell, then the counts.
    pub(crate) fn render(&self) -> String {
        let played = self.lock();
        let mut text = String::new();
        let places = ContainerBackend::ALL.map(|place| format!("{:<10}", place.name())).join(" ");
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{:<19} {:<21} {:<7} {:<9} | {:<38} | {places}",
            "policy", "registry", "local", "reference", "expected",
        );
        let mut differ = 0;
        for cell in &self.cells {
            let seen =
                ContainerBackend::ALL.map(|place| column(played.get(&(place, *cell)), *cell));
            let alike = seen.iter().all(|it| it == OK || it == ABSENT);
            differ += usize::from(!alike);
            let Cell { policy, registry, local, reference } = cell;
            let expected = cell.expected().end;
            let seen = seen.map(|it| format!("{it:<10}")).join(" ");
            let seen = if alike { seen.trim_end().to_owned() } else { format!("{seen} DIFFERS") };
            let _ = writeln!(
                text,
                "{policy:<19} {registry:<21} {local:<7} {reference:<9} | {expected:<38} | {seen}"
            );
        }
        let _ = writeln!(text, "{}", verdict(self.cells.len(), &played, differ));
        let notes = self.notes.lock();
        let notes: String = notes.iter().map(|line| format!("{line}\n")).collect();
        text + &excluded() + &notes
    }

    /// Writes the results of each backend to `folder`.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        for place in ContainerBackend::ALL {
            let cells: Vec<Value> = self
                .lock()
                .iter()
                .filter(|((of, _), _)| *of == place)
                .map(|((_, cell), entry)| record(*cell, entry))
                .collect();
            if !cells.is_empty() {
                let record = json!({"backend": place.name(), "cells": cells});
                let path = folder.join(format!("pull-policy-{}.json", place.name()));
                std::fs::write(path, format!("{record:#}\n"))?;
            }
        }
        Ok(())
    }
}

const OK: &str = "ok";
const ABSENT: &str = "-";

fn column(entry: Option<&Entry>, cell: Cell) -> String {
    match entry {
        None => ABSENT.to_owned(),
        Some(Entry::Broken(_)) => "BROKEN".to_owned(),
        Some(Entry::Played(played)) => match (&played.seen, played.differs(cell)) {
            (_, None) => OK.to_owned(),
            (Seen::End(end), Some(_)) if *end == cell.expected().end => {
                let asked = if played.asked == Some(true) { "was" } else { "was not" };
                format!("({end}, but the registry {asked} asked)")
            }
            (seen, Some(_)) => format!("({seen})"),
        },
    }
}

fn verdict(
    cells: usize,
    played: &BTreeMap<(ContainerBackend, Cell), Entry>,
    differ: usize,
) -> String {
    let count = |place: ContainerBackend| played.keys().filter(|(of, _)| *of == place).count();
    let counts = ContainerBackend::ALL.map(|place| format!("{} on {}", count(place), place.name()));
    let said = match differ {
        0 => "all equal".to_owned(),
        1 => "1 DIFFERS".to_owned(),
        number => format!("{number} DIFFER"),
    };
    format!("\n{cells} cells, played {}: {said}", counts.join(", "))
}

/// Returns a summary of the cells that cannot arise, by reason.
fn excluded() -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in Cell::every().filter_map(Cell::excluded) {
        *reasons.entry(reason).or_default() += 1;
    }
    let (all, sum) = (Cell::every().count(), reasons.values().sum::<usize>());
    let mut text = format!("{} of {all} can arise, {sum} are excluded:\n", all - sum);
    for (reason, number) in reasons {
        let _ = writeln!(text, "{number:>4}  {reason}");
    }
    text
}

fn record(cell: Cell, entry: &Entry) -> Value {
    let expected = cell.expected();
    let mut record = json!({
        "policy": cell.policy.name(), "registry": cell.registry.name(),
        "local": cell.local.name(), "reference": cell.reference.name(),
        "expected": expected.end.to_string(), "asksRegistry": expected.asked,
    });
    match entry {
        Entry::Broken(error) => record["error"] = json!(error),
        Entry::Played(played) => {
            record["seen"] = json!(played.seen.to_string());
            record["askedRegistry"] = json!(played.asked);
            record["outcome"] = json!(played.outcome);
            record["seconds"] = json!(played.took.as_secs_f64());
            record["differs"] = json!(played.differs(cell));
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use longshore::job::ImageReason;

    use super::super::table::{End, Local, Policy, Reference, Registry};
    use super::*;

    fn cell(policy: Policy) -> Cell {
        let (registry, local) = (Registry::Answers401, Local::None);
        Cell { registry, policy, local, reference: Reference::Tag }
    }

    fn played(reason: ImageReason, asked: bool) -> Played {
        Played {
            seen: Seen::End(End::Unavailable(reason)),
            asked: Some(asked),
            outcome: "has no image".to_owned(),
            took: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_line_shows_all_backends_and_where_one_differs() {
        let (always, never) = (cell(Policy::Always), cell(Policy::Never));
        let matrix = Matrix::new(vec![always, never]);
        assert!(
            matrix
                .keep(ContainerBackend::Docker, always, Ok(played(ImageReason::Denied, true)))
                .is_ok()
        );
        let other = matrix.keep(
            ContainerBackend::Kubernetes,
            always,
            Ok(played(ImageReason::NotFound, true)),
        );
        assert!(other.unwrap_err().contains("expected Denied, seen NotFound"));
        assert!(
            matrix
                .keep(ContainerBackend::Docker, never, Ok(played(ImageReason::NotPresent, false)))
                .is_ok()
        );
        let asked = matrix.keep(
            ContainerBackend::Docker29,
            never,
            Ok(played(ImageReason::NotPresent, true)),
        );
        assert!(asked.unwrap_err().contains("was asked"));
        let text = matrix.render();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("| Denied "), "{text}");
        assert!(lines[1].ends_with("| ok         -          (NotFound) DIFFERS"), "{text}");
        assert!(lines[2].contains("ok         (NotPresent, but the registry was asked)"), "{text}");
        assert!(
            text.contains("2 cells, played 2 on docker, 1 on docker29, 1 on kubernetes: 2 DIFFER")
        );
        assert!(text.contains("1215 of 1350 can arise, 135 are excluded:\n"), "{text}");
    }
}
