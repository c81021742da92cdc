//! Logins, as the registry sees them.

use std::net::Ipv6Addr;

use longshore_core::{
    ErrorKind, ImageReason, LaunchError, PullPolicy, RegistryAuth, Runner, Secret,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

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

/// Docker 20.10 knows no name of an image whose registry has an IPv6 address. That is no mistake of the
/// job: another runner may take it.
pub(crate) async fn an_image_is_pulled_from_an_ipv6_address_with_its_login(lab: Lab) -> Checked {
    let shop = Shop::with_login(lab, Some(("me", "hunter2"))).await?;
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await?;
    let (server, behind) = (listener.local_addr()?.to_string(), shop.faulty.address);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut registry = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut client, &mut registry).await
            });
        }
    });
    let image = format!("{server}/{}:1", shop.repository).parse()?;
    let runner = shop.lab.runner();
    let mut attempt = shop.attempt(&image, PullPolicy::Always);
    attempt.registry_auth = Some(RegistryAuth::password(server, "me", Secret::new("hunter2")));
    let launched = runner.launch(&attempt, &within(PATIENCE)).await;
    if shop.lab.docker.client_version().minor_version < 42 {
        attempt.pull_policy = PullPolicy::IfNotPresent;
        let looked = runner.launch(&attempt, &within(PATIENCE)).await;
        for launched in [launched, looked] {
            let Err(LaunchError::Refused(error)) = launched else { return Err("launched".into()) };
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("invalid reference format"), "{error}");
        }
    } else {
        runner.remove(&launched?.handle).await?;
        shop.forget(&image).await?;
    }
    shop.close().await
}
