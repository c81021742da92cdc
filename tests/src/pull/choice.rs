//! Selects the cells to play: the whole documented table, and enough of the rest that every two
//! values that can meet do meet. Pure, and deterministic.

use std::collections::BTreeSet;

use super::table::{Cell, Local, Policy, Reference, Registry};

/// The rows of the documented table, played under each of its columns.
const ROWS: &[(Registry, Local)] = &[
    (Registry::Up, Local::None),
    (Registry::Up, Local::Stale),
    (Registry::Refuses, Local::Stale),
    (Registry::Refuses, Local::None),
    (Registry::Answers401, Local::Stale),
    (Registry::Answers403, Local::Stale),
    (Registry::NoSuchTag, Local::Current),
];
const COLUMNS: &[Policy] =
    &[Policy::Always, Policy::IfNotPresent, Policy::Never, Policy::AlwaysIfNotPresent];

/// Returns the cells to play: every cell that can arise, or the everyday selection.
pub(crate) fn cells(full: bool) -> Vec<Cell> {
    if full { possible() } else { chosen() }
}

fn possible() -> Vec<Cell> {
    Cell::every().filter(|cell| cell.excluded().is_none()).collect()
}

/// Returns the cells of the documented table.
fn documented() -> Vec<Cell> {
    let row = |(registry, local): &(Registry, Local)| {
        let (registry, local) = (*registry, *local);
        let reference = Reference::Tag;
        COLUMNS.iter().map(move |policy| Cell { registry, policy: *policy, local, reference })
    };
    ROWS.iter().flat_map(row).collect()
}

/// Returns the documented table, followed by cells chosen one at a time: each is the first of those
/// with the most pairs of values that have not met yet.
fn chosen() -> Vec<Cell> {
    let possible: Vec<(Cell, Vec<Pair>)> =
        possible().into_iter().map(|cell| (cell, pairs(&cell))).collect();
    let mut open: BTreeSet<Pair> = possible.iter().flat_map(|(_, pairs)| pairs).copied().collect();
    let mut chosen = documented();
    let met: BTreeSet<Pair> = chosen.iter().flat_map(pairs).collect();
    open.retain(|pair| !met.contains(pair));
    while !open.is_empty() {
        let gain = |pairs: &[Pair]| pairs.iter().filter(|pair| open.contains(*pair)).count();
        let best = possible.iter().rev().max_by_key(|(_, pairs)| gain(pairs));
        let Some((best, met)) = best else { break };
        open.retain(|pair| !met.contains(pair));
        chosen.push(*best);
    }
    chosen
}

/// Two values of two sides, each as the side's number and the value's number.
type Pair = [(u8, u8); 2];

/// Returns the pairs of values that meet in `cell`. If the registry is not asked, its behaviour
/// meets only the policy.
fn pairs(cell: &Cell) -> Vec<Pair> {
    let registry = (0, cell.registry as u8);
    let policy = (1, cell.policy as u8);
    let local = (2, cell.local as u8);
    let reference = (3, cell.reference as u8);
    let mut pairs =
        vec![[registry, policy], [policy, local], [policy, reference], [local, reference]];
    if cell.expected().asked {
        pairs.extend([[registry, local], [registry, reference]]);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_values_that_can_meet_do() {
        let met: BTreeSet<Pair> = chosen().iter().flat_map(pairs).collect();
        let can: BTreeSet<Pair> = possible().iter().flat_map(pairs).collect();
        assert_eq!(met, can);
    }

    #[test]
    fn no_cell_is_played_twice_and_none_that_cannot_arise() {
        let chosen = chosen();
        let different: BTreeSet<Cell> = chosen.iter().copied().collect();
        assert_eq!(different.len(), chosen.len());
        assert!(chosen.iter().all(|cell| cell.excluded().is_none()));
    }

    #[test]
    fn the_choice_holds_the_documented_table_and_is_the_same_each_time() {
        let chosen = chosen();
        assert_eq!(chosen, super::chosen());
        assert!(documented().iter().all(|cell| chosen.contains(cell)));
    }

    /// Registry and reference alone have 15 times 6 pairs, one of which cannot meet.
    #[test]
    fn the_counts_are_known() {
        assert_eq!(documented().len(), 28);
        assert_eq!(chosen().len(), 122);
        assert_eq!(possible().len(), 1215);
    }
}
