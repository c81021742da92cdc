//! `name`, `capabilities` and `probe`.

use std::sync::Arc;

use longshore_core::Capability;

use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, check, same};

cases! { "probe":
    a_healthy_backend_tells_its_version,
    it_changes_nothing,
    name_and_capabilities_are_the_same_in_every_instance,
    it_can_be_asked_many_times_at_once,
}

async fn a_healthy_backend_tells_its_version(bench: Arc<Bench>) -> Checked {
    let runner = bench.runner().await?;
    let health = bench.wait("probe to answer", runner.probe()).await??;
    check(!health.version.trim().is_empty(), || format!("no version: {health:?}"))
}

async fn it_changes_nothing(bench: Arc<Bench>) -> Checked {
    let other = bench.other_installation();
    let runner = bench.runner().await?;
    bench.wait("probe to answer", runner.probe()).await??;
    let found = bench.wait("adopt to answer", runner.adopt(&other)).await??;
    check(found.is_empty(), || format!("a new installation has {found:?}"))
}

async fn name_and_capabilities_are_the_same_in_every_instance(bench: Arc<Bench>) -> Checked {
    let (one, two) = (bench.runner().await?, bench.runner().await?);
    same("the second instance's name", two.name(), one.name())?;
    same("the second instance's capabilities", two.capabilities(), one.capabilities())?;
    let runs = |way| one.capabilities().has(way);
    check(runs(Capability::Container) || runs(Capability::Process), || {
        "it can run neither containers nor processes".to_owned()
    })
}

async fn it_can_be_asked_many_times_at_once(bench: Arc<Bench>) -> Checked {
    let runner = bench.runner().await?;
    let probes = futures::future::try_join_all((0..20).map(|_| runner.probe()));
    bench.wait("twenty probes to answer", probes).await??;
    Ok(())
}
