//! Pulls that fail: silence, a stall, a cancel, an engine that goes away.

use std::time::Duration;

use longshore_core::{ErrorKind, ImageReason, LocalImage, PullPolicy, Runner};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::faulty::Mode;
use super::proxy::Proxy;
use super::shop::{
    Shop, at_least, at_once, listened, pulled_within, refused, unavailable, waits, within,
};
use crate::support::Lab;
use crate::{Checked, PATIENCE};

/// Checks that the engine has abandoned its pull. With the containerd store it closes its `n`th
/// connection to the registry. With its own store it does not, as long as the registry is silent,
/// but later data has no effect.
async fn given_up(shop: &Shop, hung_up: &mut watch::Receiver<u32>, n: u32) -> Checked {
    let info = shop.lab.docker.info().await?;
    if format!("{:?}", info.driver_status).contains("containerd") {
        at_least(hung_up, n).await?;
    }
    shop.faulty.turn(Mode::Healthy);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shop.lab.runner().local_image(&shop.image).await?, LocalImage::Absent);
    Ok(())
}

pub(crate) async fn a_silent_registry_is_unreachable_at_the_pulls_deadline(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    shop.faulty.turn(Mode::Silent);
    let mut hung_up = shop.faulty.hung_up();
    let attempt = shop.attempt(&shop.image, PullPolicy::Always);
    let begun = Instant::now();
    let launched = shop.lab.runner().launch(&attempt, &pulled_within(Duration::from_secs(2))).await;
    let error = unavailable(launched, ImageReason::Unreachable);
    assert!(error.contains("the registry gave no answer"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    given_up(&shop, &mut hung_up, 1).await?;
    shop.close().await
}

pub(crate) async fn a_layer_that_stalls_is_unreachable_after_the_stall_timeout(
    lab: Lab,
) -> Checked {
    let shop = Shop::open(lab).await?;
    shop.faulty.turn(Mode::HalfLayers);
    let mut hung_up = shop.faulty.hung_up();
    let runner = shop.runner(Duration::from_secs(2));
    let attempt = shop.attempt(&shop.image, PullPolicy::Always);
    let begun = Instant::now();
    let error = unavailable(runner.launch(&attempt, &at_once()).await, ImageReason::Unreachable);
    assert!(error.contains("no progress for 2s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    given_up(&shop, &mut hung_up, 1).await?;
    shop.close().await
}

pub(crate) async fn a_stalled_layer_is_asked_for_again(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    shop.faulty.turn(Mode::StallOnce);
    let runner = shop.runner(Duration::from_secs(2));
    let attempt = shop.attempt(&shop.image, PullPolicy::Always);
    let (context, mut events) = listened(within(PATIENCE));
    let launched = runner.launch(&attempt, &context).await;
    let waits = waits(&mut events);
    assert!(waits.iter().any(|words| words.contains("no progress")), "{waits:?}");
    runner.remove(&launched?.handle).await?;
    shop.close().await
}

pub(crate) async fn a_cancel_in_mid_pull_leaves_nothing_running_in_the_engine(lab: Lab) -> Checked {
    let shop = Shop::open(lab).await?;
    let runner = shop.lab.runner();
    // In the middle of a layer, and before any answer.
    for mode in [Mode::HalfLayers, Mode::Silent] {
        shop.faulty.turn(mode.clone());
        let (mut kept, mut hung_up) = (shop.faulty.kept(), shop.faulty.hung_up());
        let (before, ended) = (*kept.borrow(), *hung_up.borrow());
        let attempt = shop.attempt(&shop.image, PullPolicy::Always);
        let context = within(PATIENCE);
        let cancel = async {
            at_least(&mut kept, before + 1).await?;
            context.cancel.cancel();
            Checked::Ok(())
        };
        let begun = Instant::now();
        let (launched, cancelled) = tokio::join!(runner.launch(&attempt, &context), cancel);
        cancelled?;
        let error = refused(launched)?;
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        given_up(&shop, &mut hung_up, ended + 1).await?;
        assert!(begun.elapsed() < Duration::from_secs(20), "{mode:?}: {:?}", begun.elapsed());
        assert!(shop.lab.docker.inspect_container(&attempt.object_name(), None).await.is_err());
    }
    // The engine stays away: no request is retried within the time of several pauses.
    let mut kept = shop.faulty.kept();
    kept.mark_unchanged();
    let asked_again = timeout(Duration::from_secs(3), kept.changed()).await.is_ok();
    assert!(!asked_again, "{:?}", shop.faulty.log());
    shop.close().await
}

pub(crate) async fn an_engine_that_goes_away_in_a_pull_is_unavailable_and_not_asked_again(
    lab: Lab,
) -> Checked {
    let shop = Shop::open(lab).await?;
    shop.faulty.turn(Mode::HalfLayers);
    let proxy = Proxy::start(|_| async {})?;
    let runner = proxy.runner();
    let mut kept = shop.faulty.kept();
    let attempt = shop.attempt(&shop.image, PullPolicy::Always);
    let context = within(PATIENCE);
    let go_away = async {
        at_least(&mut kept, 1).await?;
        drop(proxy);
        Checked::Ok(())
    };
    let begun = Instant::now();
    let (launched, gone) = tokio::join!(runner.launch(&attempt, &context), go_away);
    gone?;
    let error = refused(launched)?;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    shop.close().await
}
