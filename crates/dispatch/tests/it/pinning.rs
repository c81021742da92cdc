//! `job.pinDigest`.

use std::sync::Arc;
use std::time::Duration;

use longshore_conformance::Forwarding;
use longshore_conformance::simulated::{LaunchStep, Refusal, Script, World};
use longshore_core::{ErrorKind, ImageReason, JobSpec, Outcome};
use longshore_dispatch::{Dispatcher, Settings};
use tokio::time::{Instant, sleep};

use crate::registry::{Puller, Registry, digest};
use crate::support::*;

/// Runners `first` and `second` that pull from one registry.
struct Pulling {
    first: Puller,
    second: Puller,
    dispatcher: Dispatcher,
}

fn pulling(first: Script, second: Script, pin_digest: bool) -> Pulling {
    let world = World::new();
    let registry = Arc::new(Registry::default());
    let first = Puller::new(&world.runner(name("first"), first), &registry);
    let second = Puller::new(&world.runner(name("second"), second), &registry);
    over(first, second, pin_digest)
}

fn over(first: Puller, second: Puller, pin_digest: bool) -> Pulling {
    let dispatcher = Dispatcher::builder()
        .settings({
            let mut settings = Settings::default();
            settings.pin_digest = pin_digest;
            settings
        })
        .jitter_seed(1)
        .runner(Arc::new(Forwarding(first.clone())))
        .runner(Arc::new(Forwarding(second.clone())))
        .build()
        .unwrap();
    Pulling { first, second, dispatcher }
}

fn job_of(image: &str) -> JobSpec {
    JobSpec::container(image.parse().unwrap())
}

fn start(after: Duration) -> LaunchStep {
    LaunchStep::Start { after }
}

impl Pulling {
    /// Runs jobs of `images`, submitted at once and in order. Returns the digests that they ran.
    async fn run(&self, images: &[&str]) -> Vec<Option<String>> {
        let mut jobs = Vec::new();
        for image in images {
            jobs.push(self.dispatcher.submit(job_of(image)).await.unwrap());
            sleep(SECOND / 10).await;
        }
        let ends = jobs.into_iter().map(Ends::end);
        let results = futures::future::join_all(ends).await;
        results.into_iter().map(|r| r.image.and_then(|i| i.resolved)).collect()
    }

    fn images(&self) -> Vec<String> {
        let both = [&self.first, &self.second];
        both.into_iter().flat_map(Puller::asked).map(|asked| asked.image).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_is_one_image_to_all_jobs_of_a_dispatcher() {
    let images = ["x:1", "docker.io/library/x:1", "x:1", "x:2"];
    let scene = pulling(launches([start(MINUTE); 4]), Script::default(), true);
    let ran = scene.run(&images).await;
    let expected = [1, 1, 1, 2].map(|n| Some(digest(n)));
    // Which of the two tags the registry was asked for first does not matter.
    assert!(ran == expected || ran == [2, 2, 2, 1].map(|n| Some(digest(n))), "{ran:?}");
    let one = ran[0].clone().unwrap();
    let pinned = format!("docker.io/library/x@{one}");
    let mut asked = scene.images();
    asked.sort();
    assert_eq!(asked, [pinned.as_str(), pinned.as_str(), "x:1", "x:2"]);
    let unpinned = pulling(Script::default(), Script::default(), false);
    let ran = unpinned.run(&["x:1"; 3]).await;
    assert_eq!(ran, [1, 2, 3].map(|n| Some(digest(n))));
}

#[tokio::test(start_paused = true)]
async fn the_result_names_the_image_as_the_job_does() {
    let scene = pulling(Script::default(), Script::default(), true);
    for _ in 0..2 {
        let job = scene.dispatcher.submit(job_of("x:1")).await.unwrap();
        let image = job.end().await.image.unwrap();
        assert_eq!((image.requested.as_str(), image.resolved), ("x:1", Some(digest(1))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_digest_holds_on_every_runner() {
    let saturated = LaunchStep::Refuse(Refusal::new(ErrorKind::Saturated));
    let scene = pulling(launches([start(SECOND), saturated]), Script::default(), true);
    let ran = scene.run(&["x", "x"]).await;
    assert_eq!(ran, [1, 1].map(|n| Some(digest(n))));
    assert_eq!(scene.second.asked()[0].image, format!("docker.io/library/x@{}", digest(1)));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_refused_leaves_it_to_the_next() {
    let refused = LaunchStep::Refuse(Refusal::new(ErrorKind::InvalidSpec));
    let scene = pulling(launches([refused, start(SECOND)]), Script::default(), true);
    let ran = scene.run(&["x", "x", "x"]).await;
    assert_eq!(ran, [None, Some(digest(1)), Some(digest(1))]);
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_another_no_longer_than_its_own_launch_may_take() {
    let never = start(1000 * MINUTE);
    let scene = pulling(launches([never; 3]), launches([never; 3]), true);
    let one = scene.dispatcher.submit(job_of("x")).await.unwrap();
    sleep(SECOND).await;
    let began = Instant::now();
    let result = scene.dispatcher.submit(job_of("x")).await.unwrap().end().await;
    assert!(began.elapsed() <= 46 * MINUTE, "{:?}", began.elapsed());
    assert!(!result.outcome.is_success());
    one.end().await;
    let cancelled = pulling(launches([never]), Script::default(), true);
    let _one = cancelled.dispatcher.submit(job_of("x")).await.unwrap();
    sleep(SECOND).await;
    let other = cancelled.dispatcher.submit(job_of("x")).await.unwrap();
    sleep(SECOND).await;
    other.cancel();
    let began = Instant::now();
    assert_eq!(other.end().await.outcome, Outcome::Cancelled { code: None });
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_too_long_says_which_setting_is_to_blame() {
    let hangs = LaunchStep::Hang { effect: None };
    let scene = pulling(launches([hangs]), Script::default(), true);
    let _one = scene.dispatcher.submit(job_of("x")).await.unwrap();
    sleep(SECOND).await;
    let result = scene.dispatcher.submit(job_of("x")).await.unwrap().end().await;
    let Outcome::ImageUnavailable { reason, message } = result.outcome else {
        panic!("{:?}", result.outcome)
    };
    assert_eq!(reason, ImageReason::Unreachable);
    assert!(message.contains("job.pinDigest"), "{message}");
    assert_eq!(scene.first.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn images_without_a_digest_run_all_the_same() {
    let world = World::new();
    let registry = Arc::new(Registry::default());
    let mut first = Puller::new(&world.runner(name("first"), Script::default()), &registry);
    first.digests = false;
    let second = Puller::new(&world.runner(name("second"), Script::default()), &registry);
    let scene = over(first, second, true);
    assert_eq!(scene.run(&["x"; 3]).await, [None, None, None]);
    assert_eq!(scene.images(), ["x"; 3]);
}
