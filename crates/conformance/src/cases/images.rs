//! Images and pull policies, against a real registry.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Attempt, ErrorKind, ImageReason, ImageRef, ImageReport, JobId, PullPolicy};
use tokio::time::Instant;

use super::{nothing_left_of, refused};
use crate::bench::Bench;
use crate::case::Need::Images;
use crate::case::cases;
use crate::failure::{Checked, check, same};
use crate::{Failure, Images as Hand, Pushed};

cases! { "images":
    always_sees_an_image_pushed_again_to_the_same_tag [Images] x 8,
    if_not_present_does_not_see_an_image_pushed_again [Images] x 8,
    if_not_present_pulls_what_is_not_there [Images],
    never_runs_the_local_copy_without_asking_the_registry [Images] x 8,
    never_without_a_local_copy_ends_at_once_as_not_present [Images],
    a_tag_that_the_registry_lacks_is_not_found [Images],
    a_repository_that_the_registry_lacks_is_not_found [Images],
    a_registry_that_refuses_is_unreachable_by_the_deadline [Images],
    an_image_named_by_digest_is_that_one_though_its_tag_moved [Images] x 8,
    each_launch_with_always_asks_the_registry [Images] x 8,
}

/// A repository that only one case uses.
struct Shelf<'a> {
    bench: &'a Bench,
    hand: &'a dyn Hand,
    repository: String,
}

impl<'a> Shelf<'a> {
    fn new(bench: &'a Bench) -> Checked<Self> {
        let hand =
            bench.fixture().images().ok_or_else(|| Failure::new("the fixture has no images"))?;
        Ok(Self { bench, hand, repository: format!("longshore/conformance-{}", JobId::random()) })
    }

    async fn push(&self, version: &str) -> Checked<Pushed> {
        let registry = self.hand.registry();
        let pushed = registry.push(&self.repository, "1", version).await?;
        self.bench.track_image(pushed.clone());
        Ok(pushed)
    }

    fn attempt(&self, image: &ImageRef, policy: PullPolicy) -> Attempt {
        let mut spec = self.bench.fixture().job("cat /version");
        if let Some(container) = &mut spec.container {
            container.image = image.clone();
        }
        let mut attempt = self.bench.attempt(spec);
        attempt.pull_policy = policy;
        attempt
    }

    /// Runs `image`, which must be `pushed`; the report must say the same.
    async fn runs(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        version: &str,
        pushed: &Pushed,
        pulled: bool,
    ) -> Checked {
        let attempt = self.attempt(image, policy);
        let finished = self.bench.launch_patiently(&attempt, 2).await?.finish().await?;
        same(
            &format!("the version that {policy} ran"),
            &finished.output.text(),
            &version.to_owned(),
        )?;
        let mut expected = ImageReport::new(image.as_str(), policy);
        expected.resolved = Some(pushed.digest.clone());
        expected.pulled = Some(pulled);
        same("the image that launch reported", &finished.started.image, &Some(expected.clone()))?;
        same("the image in the report", &finished.report.image, &Some(expected))
    }

    /// Launches `image`, which must be refused for `reason` by the deadline.
    async fn unavailable(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        reason: ImageReason,
    ) -> Checked<Duration> {
        let attempt = self.attempt(image, policy);
        let runner = self.bench.runner().await?;
        let context = self.bench.context();
        let began = Instant::now();
        let answer = self.bench.try_launch(runner.as_ref(), &attempt, &context).await?;
        let took = began.elapsed();
        let error = refused(answer)?;
        same(
            &format!("the kind of `{error}` with {policy}"),
            &error.kind(),
            &ErrorKind::ImageUnavailable(reason),
        )?;
        check(Instant::now() <= context.deadline + Duration::from_secs(5), || {
            format!("it took {took:?}, well past the deadline")
        })?;
        nothing_left_of(self.bench, &attempt).await?;
        Ok(took)
    }
}

async fn always_sees_an_image_pushed_again_to_the_same_tag(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    for version in ["one", "two"] {
        let pushed = shelf.push(version).await?;
        shelf.runs(&pushed.image, PullPolicy::Always, version, &pushed, true).await?;
    }
    Ok(())
}

async fn if_not_present_does_not_see_an_image_pushed_again(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    let one = shelf.push("one").await?;
    shelf.runs(&one.image, PullPolicy::IfNotPresent, "one", &one, true).await?;
    shelf.push("two").await?;
    shelf.runs(&one.image, PullPolicy::IfNotPresent, "one", &one, false).await
}

async fn if_not_present_pulls_what_is_not_there(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    let pushed = shelf.push("one").await?;
    shelf.runs(&pushed.image, PullPolicy::IfNotPresent, "one", &pushed, true).await
}

async fn never_runs_the_local_copy_without_asking_the_registry(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    let one = shelf.push("one").await?;
    shelf.runs(&one.image, PullPolicy::Always, "one", &one, true).await?;
    shelf.push("two").await?;
    let before = shelf.hand.registry().requests(&shelf.repository)?;
    shelf.runs(&one.image, PullPolicy::Never, "one", &one, false).await?;
    same("requests", &shelf.hand.registry().requests(&shelf.repository)?, &before)
}

async fn never_without_a_local_copy_ends_at_once_as_not_present(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    let pushed = shelf.push("one").await?;
    let before = shelf.hand.registry().requests(&shelf.repository)?;
    let reason = ImageReason::NotPresent;
    let took = shelf.unavailable(&pushed.image, PullPolicy::Never, reason).await?;
    check(took < bench.patience() / 2, || format!("it took {took:?}, which is not at once"))?;
    same("requests", &shelf.hand.registry().requests(&shelf.repository)?, &before)
}

async fn a_tag_that_the_registry_lacks_is_not_found(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    shelf.push("one").await?;
    let image = shelf.hand.registry().image(&shelf.repository, "no-such-tag")?;
    for policy in [PullPolicy::Always, PullPolicy::IfNotPresent] {
        shelf.unavailable(&image, policy, ImageReason::NotFound).await?;
    }
    Ok(())
}

async fn a_repository_that_the_registry_lacks_is_not_found(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    let image = shelf.hand.registry().image(&shelf.repository, "1")?;
    shelf.unavailable(&image, PullPolicy::IfNotPresent, ImageReason::NotFound).await?;
    Ok(())
}

async fn a_registry_that_refuses_is_unreachable_by_the_deadline(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    let image: ImageRef = shelf.hand.refused().parse()?;
    let always = shelf.unavailable(&image, PullPolicy::Always, ImageReason::Unreachable);
    let if_not = shelf.unavailable(&image, PullPolicy::IfNotPresent, ImageReason::Unreachable);
    futures::try_join!(always, if_not)?;
    Ok(())
}

async fn an_image_named_by_digest_is_that_one_though_its_tag_moved(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    let one = shelf.push("one").await?;
    shelf.push("two").await?;
    let image = one.by_digest()?;
    shelf.runs(&image, PullPolicy::IfNotPresent, "one", &one, true).await
}

async fn each_launch_with_always_asks_the_registry(bench: Arc<Bench>) -> Checked {
    let shelf = Shelf::new(&bench)?;
    let one = shelf.push("one").await?;
    shelf.runs(&one.image, PullPolicy::Always, "one", &one, true).await?;
    let registry = shelf.hand.registry();
    let Some(before) = registry.requests(&shelf.repository)? else { return Ok(()) };
    shelf.runs(&one.image, PullPolicy::Always, "one", &one, true).await?;
    let more = registry.requests(&shelf.repository)?;
    check(more > Some(before), || "the registry was not asked again".to_owned())
}
