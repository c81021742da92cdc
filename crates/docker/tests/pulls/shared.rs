//! Several jobs that wait for one pull.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use longshore_core::ImageReason::{Denied, Unreachable};
use longshore_core::{ErrorKind, PullPolicy, RegistryAuth, RejectReason, Runner, Secret};
use tokio::time::Instant;

use super::faulty::Mode;
use super::shop::{Shop, at_least, at_once, pulled_within, refused, unavailable, within};
use crate::support::Lab;
use crate::{Checked, PATIENCE};

pub(crate) async fn fifty_jobs_of_one_absent_image_at_once_cause_one_pull(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    // The registry sends the layer's second half once all of them wait.
    shop.faulty.turn(Mode::HalfLayers);
    let attempts: Vec<_> = (0..50)
        .map(|n| {
            let mut attempt = shop.unstarted(None);
            attempt.pull_policy =
                if n % 2 == 0 { PullPolicy::IfNotPresent } else { PullPolicy::Always };
            attempt
        })
        .collect();
    let waiting = Arc::new(tokio::sync::Semaphore::new(0));
    let launches = attempts.iter().map(|attempt| {
        let (runner, waiting) = (&runner, Arc::clone(&waiting));
        async move {
            let (context, mut events) = super::shop::listened(within(PATIENCE));
            let pulls = async {
                events.recv().await;
                waiting.add_permits(1);
            };
            tokio::join!(runner.launch(attempt, &context), pulls).0
        }
    });
    let release = async {
        let _all = waiting.acquire_many(50).await;
        shop.faulty.turn(Mode::Healthy);
    };
    let (launched, ()) = tokio::join!(join_all(launches), release);
    for launched in launched {
        let error = refused(launched)?;
        let kind = ErrorKind::Rejected(RejectReason::CommandNotFound);
        assert_eq!(error.kind(), kind, "the image is here: {error}");
    }
    let log = shop.faulty.log();
    assert_eq!(shop.faulty.count("GET", "/manifests/"), 1, "{log:?}");
    let mut blobs: Vec<_> = log.iter().filter(|line| line.contains("/blobs/")).collect();
    let count = blobs.len();
    blobs.sort();
    blobs.dedup();
    assert_eq!(blobs.len(), count, "each blob once: {log:?}");
    shop.close().await
}

pub(crate) async fn a_job_without_a_login_never_rides_on_anothers_pull(lab: Lab) -> Checked {
    let shop = Shop::with_login(lab, Some(("me", "hunter2"))).await?;
    let runner = shop.lab.runner();
    shop.faulty.turn(Mode::HalfLayers);
    let auth = |password: &str| {
        let server = shop.faulty.address.to_string();
        Some(RegistryAuth::password(server, "me", Secret::new(password)))
    };
    let mut kept = shop.faulty.kept();
    let known = shop.unstarted(auth("hunter2"));
    let (context, begun) = (within(PATIENCE), Instant::now());
    let others = async {
        at_least(&mut kept, 1).await?;
        for auth in [None, auth("another")] {
            let stranger = shop.unstarted(auth);
            unavailable(runner.launch(&stranger, &within(PATIENCE)).await, Denied);
        }
        // The first pull is still under way.
        shop.faulty.turn(Mode::Healthy);
        Checked::Ok(())
    };
    let (launched, others) = tokio::join!(runner.launch(&known, &context), others);
    others?;
    let error = refused(launched)?;
    assert_eq!(error.kind(), ErrorKind::Rejected(RejectReason::CommandNotFound), "{error}");
    assert!(begun.elapsed() < PATIENCE / 2);
    shop.close().await
}

pub(crate) async fn each_job_that_waits_for_a_pull_keeps_its_own_clock(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    shop.faulty.turn(Mode::HalfLayers);
    let (hasty, patient) = (shop.unstarted(None), shop.unstarted(None));
    let (short, long) = (pulled_within(Duration::from_secs(3)), within(PATIENCE));
    let hasty = async {
        let begun = Instant::now();
        let launched = runner.launch(&hasty, &short).await;
        let took = begun.elapsed();
        unavailable(launched, Unreachable);
        assert!(took < Duration::from_secs(10), "{took:?}");
        shop.faulty.turn(Mode::Healthy);
    };
    let ((), launched) = tokio::join!(hasty, runner.launch(&patient, &long));
    let error = refused(launched)?;
    assert_eq!(error.kind(), ErrorKind::Rejected(RejectReason::CommandNotFound), "{error}");
    assert_eq!(shop.faulty.count("GET", "/manifests/"), 1, "{:?}", shop.faulty.log());
    shop.close().await
}

pub(crate) async fn a_job_that_may_not_wait_leaves_a_pull_that_others_go_on_with(
    lab: Lab,
) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    shop.faulty.turn(Mode::Status(503));
    let (hasty, patient) = (shop.unstarted(None), shop.unstarted(None));
    let (now, long) = (at_once(), within(PATIENCE));
    let hasty = async {
        let begun = Instant::now();
        unavailable(runner.launch(&hasty, &now).await, Unreachable);
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        shop.faulty.turn(Mode::Healthy);
    };
    let ((), launched) = tokio::join!(hasty, runner.launch(&patient, &long));
    let error = refused(launched)?;
    assert_eq!(error.kind(), ErrorKind::Rejected(RejectReason::CommandNotFound), "{error}");
    shop.close().await
}
