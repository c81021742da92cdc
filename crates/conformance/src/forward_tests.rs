//! Tests of the runners that forward calls.

use async_trait::async_trait;
use longshore_core::{
    Capability, Forward, Forwarding, ImageRef, LocalImage, Result, Runner, RunnerName,
};

use crate::simulated::{Script, SimulatedRunner, World};

/// A runner with its own answers to the calls for which [`Runner`] has a default.
#[derive(Debug)]
struct Own(SimulatedRunner);

#[async_trait]
impl Forward for Own {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    fn remedy(&self, capability: Capability) -> Option<String> {
        Some(format!("remedy: {}", capability.words()))
    }

    async fn local_image(&self, _image: &ImageRef) -> Result<LocalImage> {
        Ok(LocalImage::Absent)
    }
}

/// A runner that changes nothing.
#[derive(Debug)]
struct Plain(Forwarding<Own>);

impl Forward for Plain {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }
}

#[tokio::test]
async fn a_call_with_a_default_is_forwarded_too() {
    let name: RunnerName = "inner".parse().unwrap();
    let runner =
        Forwarding(Plain(Forwarding(Own(World::new().runner(name.clone(), Script::default())))));
    assert_eq!(Runner::name(&runner), &name);
    let remedy = Runner::remedy(&runner, Capability::LimitCpu);
    assert_eq!(remedy, Some("remedy: resources.limits.cpu".to_owned()));
    let image = "busybox:1".parse().unwrap();
    assert_eq!(Runner::local_image(&runner, &image).await.unwrap(), LocalImage::Absent);
}
