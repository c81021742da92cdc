//! Logins, as the registry sees them.

use longshore_core::{ImageReason, PullPolicy, RegistryAuth, Runner, Secret};

use super::shop::{Shop, unavailable, within};
use crate::support::Lab;
use crate::{Checked, PATIENCE};

pub(crate) async fn a_password_of_any_characters_reaches_the_registry(lab: Lab) -> Checked {
    // In the header's base 64 these become characters that its two alphabets write differently.
    let password = "a>b?c~ÿ🔑\"\\>>>???";
    let shop = Shop::with_login(lab, Some(("müller", password))).await?;
    let runner = shop.lab.runner();
    let server = shop.faulty.address.to_string();
    let mut attempt = shop.attempt(&shop.image, PullPolicy::Always);
    attempt.registry_auth =
        Some(RegistryAuth::password(server.clone(), "müller", Secret::new(password)));
    let started = runner.launch(&attempt, &within(PATIENCE)).await?;
    runner.remove(&started.handle).await?;
    for auth in [None, Some(RegistryAuth::password(server, "müller", Secret::new("hunter2")))] {
        let mut attempt = shop.attempt(&shop.image, PullPolicy::Always);
        attempt.registry_auth = auth;
        let launched = runner.launch(&attempt, &within(PATIENCE)).await;
        let error = unavailable(launched, ImageReason::Denied);
        assert!(!error.contains("hunter2"), "{error}");
    }
    shop.close().await
}
