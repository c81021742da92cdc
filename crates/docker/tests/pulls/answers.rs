//! The registry's answers, and which of them are retried.

use std::time::Duration;

use longshore_core::ImageReason::{Denied, Invalid, NotFound, Unreachable};
use longshore_core::{PullPolicy, Runner};
use tokio::time::Instant;

use super::faulty::Mode;
use super::shop::{Shop, at_once, listened, pulled_within, unavailable, waits, within};
use crate::support::Lab;
use crate::{Checked, PATIENCE};

pub(crate) async fn a_definite_answer_ends_the_pull_at_the_first_time(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    for (mode, reason) in [
        (Mode::Status(401), Denied),
        (Mode::Status(403), Denied),
        (Mode::Status(404), NotFound),
        (Mode::Corrupt, Invalid),
    ] {
        shop.faulty.turn(mode.clone());
        let attempt = shop.attempt(&shop.image, PullPolicy::Always);
        let (context, mut events) = listened(within(PATIENCE));
        let error = unavailable(runner.launch(&attempt, &context).await, reason);
        assert_eq!(waits(&mut events), [""; 0], "{mode:?}");
        assert!(!error.contains("tries"), "{mode:?}: {error}");
    }
    shop.close().await
}

pub(crate) async fn no_answer_ends_a_pull_at_once_where_another_policy_follows(
    lab: Lab,
) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    for mode in [Mode::Status(429), Mode::Status(500), Mode::Status(503), Mode::Truncate] {
        shop.faulty.turn(mode.clone());
        let begun = Instant::now();
        let attempt = shop.attempt(&shop.image, PullPolicy::Always);
        unavailable(runner.launch(&attempt, &at_once()).await, Unreachable);
        // The engine itself retries a truncated layer for more than a minute.
        assert!(begun.elapsed() < Duration::from_secs(20), "{mode:?}: {:?}", begun.elapsed());
    }
    shop.close().await
}

pub(crate) async fn no_answer_is_asked_for_again_until_the_pulls_deadline(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    for (status, words) in [(429, "429"), (503, "503")] {
        shop.faulty.turn(Mode::Status(status));
        let attempt = shop.attempt(&shop.image, PullPolicy::Always);
        let (context, mut events) = listened(pulled_within(Duration::from_secs(4)));
        let begun = Instant::now();
        let error = unavailable(runner.launch(&attempt, &context).await, Unreachable);
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(10), "{took:?}");
        let waits = waits(&mut events);
        assert!(waits.len() >= 2, "{waits:?}");
        // The deadline passes in a pause or in one more try.
        let tries = |n: usize| error.contains(&format!("tries: {n})"));
        assert!(tries(waits.len()) || tries(waits.len() + 1), "{error} {waits:?}");
        let says = |text: &str| text.contains(words) || text.contains("toomanyrequests");
        assert!(says(&error) && waits.iter().all(|text| says(text)), "{error} {waits:?}");
    }
    shop.close().await
}

pub(crate) async fn a_registry_that_comes_back_in_time_is_pulled_from(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    shop.faulty.turn(Mode::Status(503));
    let attempt = shop.attempt(&shop.image, PullPolicy::IfNotPresent);
    let (context, mut events) = listened(within(PATIENCE));
    let healed = async {
        while let Some(event) = events.recv().await {
            if matches!(event, longshore_core::Event::Waiting(_)) {
                shop.faulty.turn(Mode::Healthy);
                return true;
            }
        }
        false
    };
    let (launched, healed) = tokio::join!(runner.launch(&attempt, &context), healed);
    assert!(healed);
    let image = launched?.image.ok_or("the launch reports no image")?;
    assert_eq!(image.resolved.as_deref(), Some(shop.pushed.digest.as_str()));
    runner.remove(&runner.handle(&attempt)).await?;
    shop.close().await
}
