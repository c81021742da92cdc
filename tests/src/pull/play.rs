//! Plays one cell on one backend, and returns what was seen.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use longshore::image::{PullPolicies, PullPolicy, RegistryLogin};
use longshore::{JobResult, JobSpec, Outcome};

use super::faulty::{Layer, Mode};
use super::images::{Image, PADDING, Shelf};
use super::shop::Shop;
use super::spoilt::Damage;
use super::station::Station;
use super::table::{Cell, End, Local, Reference, Registry, Version};
use super::toxiproxy::Proxy;

/// The observed result of a cell.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) seen: Seen,
    /// Whether the registry was consulted, if that can be known.
    pub(crate) asked: Option<bool>,
    /// The outcome, as the result words it.
    pub(crate) outcome: String,
    pub(crate) took: Duration,
}

/// What happened to a cell's job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    End(End),
    /// Something that is not a valid result of any cell.
    Other(String),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End(end) => end.fmt(f),
            Self::Other(text) => f.pad(text),
        }
    }
}

impl Played {
    /// Returns how this differs from the expectation of `cell`, or `None` if it does not.
    pub(crate) fn differs(&self, cell: Cell) -> Option<String> {
        let expected = cell.expected();
        if self.seen != Seen::End(expected.end) {
            let (seen, outcome) = (&self.seen, &self.outcome);
            return Some(format!("expected {}, seen {seen}: the job {outcome}", expected.end));
        }
        let asked = self.asked?;
        let words = |asked| if asked { "asked" } else { "not asked" };
        let differs = asked != expected.asked;
        differs.then(|| format!("the registry was {}: {}", words(asked), self.outcome))
    }
}

/// Everything that a cell is played with.
struct Scene<'a> {
    cell: Cell,
    station: &'a Station,
    repository: String,
    layer: Layer,
    /// The proxy in front of the layer, if the network is faulty.
    proxy: Option<Proxy>,
    newest: Image,
    old: Option<Image>,
    login: Option<RegistryLogin>,
}

/// Plays `cell`, with images in `repository`, which no other cell uses.
pub(crate) async fn play(
    station: &Station,
    shop: &Shop,
    cell: Cell,
    repository: String,
) -> Result<Played> {
    let scene = Scene::set(station, shop, cell, repository).await?;
    let played = scene.play().await;
    let cleared = scene.clear(shop).await;
    let played = played?;
    cleared.context("failed to clear up")?;
    Ok(played)
}

impl<'a> Scene<'a> {
    /// Sets up the registry with its images and the local copy, with everything healthy.
    async fn set(
        station: &'a Station,
        shop: &Shop,
        cell: Cell,
        repository: String,
    ) -> Result<Self> {
        let private =
            matches!(cell.registry, Registry::PrivateWithLogin | Registry::PrivateWithoutLogin);
        let upstream = if private { shop.private()? } else { shop.open() };
        let layer = Layer::start(upstream).await?;
        let network =
            matches!(cell.registry, Registry::Slow | Registry::Refuses | Registry::Silent);
        let proxy = if network {
            let name = repository.replace('/', "-");
            Some(shop.toxiproxy()?.proxy(&name, layer.address).await?)
        } else {
            None
        };
        let shelf = Shelf::new(layer.address.to_string(), &shop.base)?;
        let old = match cell.local {
            Local::Stale => Some(push(&shelf, cell, &repository, "old").await?),
            _ => None,
        };
        let mut newest = match old {
            Some(_) => None,
            None => Some(push(&shelf, cell, &repository, "newest").await?),
        };
        let place = proxy.as_ref().map_or(layer.address, |proxy| proxy.address);
        let logs_in = matches!(cell.registry, Registry::PrivateWithLogin | Registry::Answers401);
        let login = if logs_in { Some(shop.login(&host(cell, place))?) } else { None };
        if cell.local != Local::None {
            let image = old.as_ref().or(newest.as_ref()).context("nothing was pushed")?;
            let name = reference(cell, place, &repository, &image.digest);
            prepare(station, &name, image).await.context("failed to prepare the local copy")?;
        }
        let newest = match newest.take() {
            Some(newest) => newest,
            None => push(&shelf, cell, &repository, "newest").await?,
        };
        Ok(Self { cell, station, repository, layer, proxy, newest, old, login })
    }

    /// Sets the cell's fault, and runs the job.
    async fn play(&self) -> Result<Played> {
        self.layer.turn(self.mode());
        match (self.cell.registry, &self.proxy) {
            (Registry::Slow, Some(proxy)) => proxy.be_slow().await?,
            (Registry::Refuses, Some(proxy)) => proxy.refuse().await?,
            (Registry::Silent, Some(proxy)) => proxy.say_nothing().await?,
            _ => {}
        }
        let policies = PullPolicies::try_from(self.cell.policy.policies().to_vec())?;
        let mut spec = job(&self.reference(), policies)?;
        spec.registries.extend(self.login.clone());
        let begun = Instant::now();
        let (result, output) = if self.cell.is_unanswered() {
            self.station.run_in_vain(spec).await?
        } else {
            self.station.run(spec).await?
        };
        let took = begun.elapsed();
        // Requests that the proxy does not forward are not in the layer's log.
        let hears = !matches!(self.cell.registry, Registry::Refuses | Registry::Silent);
        Ok(Played {
            seen: self.see(&result, &output),
            asked: hears.then(|| self.layer.was_asked()),
            outcome: result.outcome.to_string(),
            took,
        })
    }

    fn mode(&self) -> Mode {
        let damage = |how| Mode::Damage { digest: self.newest.layer.clone(), how };
        let rename = |from: String, to: String| Mode::Rename { from, to };
        match self.cell.registry {
            Registry::Answers401 => Mode::Answer(StatusCode::UNAUTHORIZED),
            Registry::Answers403 => Mode::Answer(StatusCode::FORBIDDEN),
            Registry::Answers429 => Mode::Answer(StatusCode::TOO_MANY_REQUESTS),
            Registry::Answers500 => Mode::Answer(StatusCode::INTERNAL_SERVER_ERROR),
            Registry::StallsInLayer => damage(Damage::Stall),
            Registry::TruncatesLayer => damage(Damage::Truncate),
            Registry::CorruptsLayer => damage(Damage::Corrupt),
            Registry::NoSuchTag => {
                let path = format!("/manifests/{}", tag(self.cell));
                rename(path.clone(), format!("{path}-gone"))
            }
            Registry::NoSuchRepository => {
                rename(self.repository.clone(), format!("{}-gone", self.repository))
            }
            _ => Mode::Plain,
        }
    }

    fn reference(&self) -> String {
        let place = self.proxy.as_ref().map_or(self.layer.address, |proxy| proxy.address);
        reference(self.cell, place, &self.repository, &self.newest.digest)
    }

    fn see(&self, result: &JobResult, output: &str) -> Seen {
        let image = match &result.outcome {
            Outcome::ImageUnavailable { reason, .. } => {
                return Seen::End(End::Unavailable(*reason));
            }
            Outcome::Exited { code: 0, .. } => result.image.as_ref(),
            other => return Seen::Other(other.kind().to_owned()),
        };
        let Some(image) = image else { return Seen::Other("no image in the result".to_owned()) };
        let (version, pushed) = if output.trim_end() == self.newest.marker {
            (Version::Newest, &self.newest)
        } else if let Some(old) = self.old.as_ref().filter(|old| output.trim_end() == old.marker) {
            (Version::Old, old)
        } else {
            return Seen::Other(format!("the output {output:?}"));
        };
        if image.requested != self.reference() {
            return Seen::Other(format!("requested {}", image.requested));
        }
        if image.resolved.as_ref() != Some(&pushed.digest) {
            return Seen::Other(format!("ran {}, reported {:?}", pushed.digest, image.resolved));
        }
        let Some(pulled) = image.pulled else {
            return Seen::Other("unknown whether it was pulled".to_owned());
        };
        Seen::End(End::Ran { version, policy: image.policy, pulled, stale: image.stale })
    }

    /// Removes the images and the proxy.
    async fn clear(self, shop: &Shop) -> Result<()> {
        let reference = self.reference();
        let name = reference.split('@').next().unwrap_or(&reference);
        let name = name.strip_suffix(&format!(":{}", tag(self.cell))).unwrap_or(name);
        let images = || self.old.iter().chain([&self.newest]);
        let mut names = vec![reference.clone()];
        names.extend(images().map(|image| format!("{name}@{}", image.digest)));
        self.station.forget(&names).await?;
        self.layer.turn(Mode::Healthy);
        let shelf = Shelf::new(self.layer.address.to_string(), &shop.base)?;
        for image in images() {
            shelf.delete(&self.repository, image).await?;
        }
        match self.proxy {
            Some(proxy) => proxy.remove().await,
            None => Ok(()),
        }
    }
}

/// Creates the local copy of the image as any job would: by running it.
async fn prepare(station: &Station, name: &str, image: &Image) -> Result<()> {
    let spec = job(name, PullPolicy::IfNotPresent.into())?;
    let (result, output) = station.run(spec).await?;
    ensure!(result.outcome.is_success(), "the job {}", result.outcome);
    ensure!(output.trim_end() == image.marker, "it ran another image: {output:?}");
    Ok(())
}

/// Returns a job that prints the marker of its image.
pub(crate) fn job(image: &str, policies: PullPolicies) -> Result<JobSpec> {
    let mut spec = JobSpec::container(image.parse()?);
    let container = spec.container.as_mut().context("a job without a container")?;
    container.command = ["head", "-n", "1", "/version"].map(str::to_owned).to_vec();
    spec.image_pull_policy = Some(policies);
    Ok(spec)
}

async fn push(shelf: &Shelf, cell: Cell, repository: &str, word: &str) -> Result<Image> {
    // The marker has the repository in it, so that no two cells share a layer.
    let marker = format!("{word} of {repository}");
    let tag = tag(cell);
    let padding = if cell.registry == Registry::StallsInLayer { PADDING } else { 0 };
    let pushed = match cell.reference {
        Reference::Index => shelf.push_index(repository, tag, &marker, padding).await,
        _ => shelf.push(repository, tag, &marker, padding).await,
    };
    pushed.with_context(|| format!("failed to push the {word} image"))
}

const fn tag(cell: Cell) -> &'static str {
    match cell.reference {
        Reference::Latest | Reference::Untagged => "latest",
        _ => "v1",
    }
}

fn host(cell: Cell, place: SocketAddr) -> String {
    match cell.reference {
        Reference::HostPort => place.to_string(),
        _ => format!("localhost:{}", place.port()),
    }
}

fn reference(cell: Cell, place: SocketAddr, repository: &str, digest: &str) -> String {
    let name = format!("{}/{repository}", host(cell, place));
    match cell.reference {
        Reference::Untagged => name,
        Reference::Digest => format!("{name}@{digest}"),
        _ => format!("{name}:{}", tag(cell)),
    }
}
