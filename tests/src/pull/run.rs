//! Runs the matrix and reports the results.

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use super::choice;
use super::matrix::Matrix;
use super::once;
use super::play::play;
use super::shop::Shop;
use super::station::{ContainerBackend, Station};
use super::table::{Cell, Registry};
use crate::books::{self, Books};
use crate::lab::Lab;
use crate::leftovers;

/// The number of threads that wait for cells. Each backend has its own limit of concurrent cells.
const THREADS: usize = 64;
/// The name under which the results are reported.
const NAME: &str = "pull-policy";

/// Plays the pull-policy matrix on both Docker engines and on Kubernetes, prints it, and returns
/// the exit code for `main`: 0 if every cell has the expected result on each available backend.
///
/// With `LONGSHORE_PULL_POLICY=full`, every cell that can arise is played. `LONGSHORE_REQUIRE` is a
/// comma-separated list of backends, or `all`: if one of them is missing, the suite fails.
#[must_use]
pub fn main() -> ExitCode {
    books::main(NAME, THREADS, play_all)
}

fn play_all(arguments: &Arguments) -> Result<bool> {
    let full = env::var("LONGSHORE_PULL_POLICY").is_ok_and(|value| value == "full");
    let floor = Arc::new(Floor::new(choice::cells(full))?);
    if arguments.list {
        return Ok(!libtest_mimic::run(arguments, floor.cells()).has_failed());
    }
    floor.warm()?;
    let cells = libtest_mimic::run(arguments, floor.cells());
    // These load a backend more than anything else here.
    let alone = Arguments { test_threads: Some(1), ..arguments.clone() };
    let rest = libtest_mimic::run(&alone, floor.alone());
    if let Some(folder) = floor.books.close(NAME, &floor.matrix.render(), arguments)? {
        floor.matrix.write(&folder)?;
    }
    Ok(!cells.has_failed() && !rest.has_failed())
}

/// The context that all trials share.
struct Floor {
    runtime: Runtime,
    lab: Lab,
    /// Why no backend can be tested, or `None`.
    problem: Option<String>,
    shop: Option<Shop>,
    stations: BTreeMap<ContainerBackend, Arc<Station>>,
    matrix: Matrix,
    list: Vec<Cell>,
    books: Books,
    /// The prefix of the name of every repository of this run.
    run: String,
}

impl Floor {
    fn new(mut list: Vec<Cell>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("failed to start a runtime")?;
        let lab = Lab::from_env();
        let shop = Shop::from_env().and_then(|shop| {
            shop.private()?;
            shop.toxiproxy()?;
            Ok(shop)
        });
        let problem = shop.as_ref().err().map(|error| format!("{error:#}"));
        let entered = runtime.enter();
        let mut stations = BTreeMap::new();
        for place in ContainerBackend::ALL {
            if problem.is_none() && Station::missing(place, &lab).is_none() {
                stations.insert(place, Arc::new(Station::new(place, &lab)?));
            }
        }
        drop(entered);
        let matrix = Matrix::new(list.clone());
        // Cells in which a runtime hangs take the longest.
        list.sort_by_key(|cell| !cell.hangs());
        let run = format!("longshore-e2e/pull/{}", longshore::JobId::random());
        let shop = shop.ok();
        Ok(Self {
            runtime,
            lab,
            problem,
            shop,
            stations,
            matrix,
            list,
            books: Books::default(),
            run,
        })
    }

    /// Makes every backend pull the base of all images, which no cell tests.
    fn warm(&self) -> Result<()> {
        let Some(shop) = &self.shop else { return Ok(()) };
        self.runtime.block_on(async {
            let warm = self.stations.values().map(|station| station.warm(shop));
            futures::future::try_join_all(warm).await.map(drop)
        })
    }

    /// Returns a trial for each cell on each backend.
    fn cells(self: &Arc<Self>) -> Vec<Trial> {
        let on_all =
            self.list.iter().flat_map(|cell| ContainerBackend::ALL.map(|place| (place, *cell)));
        let trial = |(place, cell): (ContainerBackend, Cell)| {
            let name = format!("{}::{cell}", place.name());
            self.trial(name, place, move |floor, station, shop, repository| {
                floor.runtime.block_on(async {
                    let stalls = cell.hangs() && cell.registry == Registry::StallsInLayer;
                    let _stall = if stalls { Some(station.stall().await?) } else { None };
                    let _room = station.room().await?;
                    let played = play(station, shop, cell, repository).await;
                    let kept = floor.matrix.keep(place, cell, played);
                    kept.map_err(anyhow::Error::msg)
                })
            })
        };
        on_all.map(trial).collect()
    }

    /// Returns the trials that run after the cells, one after another.
    fn alone(self: &Arc<Self>) -> Vec<Trial> {
        let many = ContainerBackend::ALL.map(|place| {
            let name = format!("{}::fifty_jobs_of_one_absent_image_cause_one_pull", place.name());
            self.trial(name, place, |floor, station, shop, repository| {
                let told = once::fifty_jobs(station, shop, &repository);
                floor.matrix.note(floor.runtime.block_on(told)?);
                Ok(())
            })
        });
        let left = ContainerBackend::ALL.map(|place| {
            let name = format!("{}::nothing_is_left_behind", place.name());
            self.trial(name, place, move |floor, station, _, _| {
                floor.runtime.block_on(async {
                    station.forget_all_with(&floor.run).await?;
                    Arc::clone(station).close().await
                })?;
                leftovers::check(&station.lab, &[place.backend()], &[station.trace()])
            })
        });
        many.into_iter().chain(left).collect()
    }

    fn trial(
        self: &Arc<Self>,
        name: String,
        place: ContainerBackend,
        body: impl FnOnce(&Self, &Arc<Station>, &Shop, String) -> Result<()> + Send + 'static,
    ) -> Trial {
        let floor = Arc::clone(self);
        let title = name.clone();
        Trial::ignorable_test(name, move || {
            let (Some(station), Some(shop)) = (floor.stations.get(&place), &floor.shop) else {
                let reason = floor.missing(place);
                return Ok(floor.books.unsupported(&title, place.name(), &reason));
            };
            let repository = format!("{}/{}", floor.run, repository(&title));
            floor.books.ended(body(&floor, station, shop, repository))
        })
    }

    fn missing(&self, place: ContainerBackend) -> String {
        let missing = Station::missing(place, &self.lab).or_else(|| self.problem.clone());
        missing.unwrap_or_default()
    }
}

/// Returns a repository name for the trial `name`.
fn repository(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_cells_share_a_repository() {
        let all: Vec<_> =
            choice::cells(true).iter().map(|it| repository(&it.to_string())).collect();
        let different: BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert!(all.iter().all(|name| {
            format!("localhost:1/x/{name}").parse::<longshore::image::ImageRef>().is_ok()
        }));
    }
}
