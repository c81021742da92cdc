//! Making an image available as the pull policy says.

use bollard::models::ImageInspect;
use longshore_core::{
    Error, ErrorKind, Event, EventSink, ImageReason, ImageRef, ImageReport, PullPolicy, Result,
};

use crate::client::Engine;
use crate::pull::Pulls;

/// The search path where neither the job nor the image sets one: the engine's own default for
/// Linux.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image that the engine has.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// What a container is created from, so that no other pull can move the tag in between. An
    /// image that was only loaded or imported has no digest, but always an id.
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) path: String,
    pub(crate) working_dir: String,
    pub(crate) report: ImageReport,
}

/// Makes `image` available as `policy` says.
pub(crate) async fn resolve(
    engine: &Engine,
    pulls: &Pulls,
    image: &ImageRef,
    policy: PullPolicy,
    events: &EventSink,
) -> Result<Image> {
    let reference = image.canonical();
    let local = match policy {
        PullPolicy::Always => None,
        _ => inspect(engine, &reference).await?,
    };
    if let Some(local) = local {
        return read(image, policy, &local, None, false);
    }
    if policy == PullPolicy::Never {
        return Err(Error::new(
            ErrorKind::ImageUnavailable(ImageReason::NotPresent),
            "the image is not on the Docker engine, and the pull policy is Never",
        )
        .with("image", image));
    }
    let digest =
        pulls.pull(engine, image, None, events).await.map_err(|f| f.error(image.as_str()))?;
    events.emit(Event::Pulled);
    let pulled = inspect(engine, &reference).await?.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, "the image was pulled, and is gone again")
            .with("image", image)
    })?;
    read(image, policy, &pulled, digest, true)
}

async fn inspect(engine: &Engine, reference: &str) -> Result<Option<ImageInspect>> {
    let found = engine.inspect_image(reference).await;
    found.map_err(|fault| fault.into_error("failed to look for the image").with("image", reference))
}

fn read(
    image: &ImageRef,
    policy: PullPolicy,
    found: &ImageInspect,
    digest: Option<String>,
    pulled: bool,
) -> Result<Image> {
    let id = found.id.clone().ok_or_else(|| {
        Error::new(ErrorKind::Internal, "the engine tells no id of the image").with("image", image)
    })?;
    let mut report = ImageReport::new(image.as_str(), policy);
    report.resolved = digest.or_else(|| local_digest(image, found.repo_digests.as_deref()));
    report.pulled = Some(pulled);
    let config = found.config.clone().unwrap_or_default();
    let path = config.env.iter().flatten().find_map(|pair| pair.strip_prefix("PATH="));
    Ok(Image {
        id,
        user: config.user.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        path: path.unwrap_or(DEFAULT_PATH).to_owned(),
        working_dir: config.working_dir.unwrap_or_default(),
        report,
    })
}

/// The digest under which the image's repository knows it. `RepoDigests` may tell of several
/// repositories.
fn local_digest(image: &ImageRef, repo_digests: Option<&[String]>) -> Option<String> {
    if let Some(digest) = image.digest() {
        return Some(digest.to_owned());
    }
    repo_digests?.iter().find_map(|known| {
        let known: ImageRef = known.parse().ok()?;
        let same = known.registry() == image.registry() && known.repository() == image.repository();
        known.digest().filter(|_| same).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: u8) -> String {
        format!("sha256:{}", format!("{of:02x}").repeat(32))
    }

    #[test]
    fn the_digest_is_that_of_the_images_own_repository() {
        let known = [
            format!("localhost:5000/other@{}", digest(1)),
            format!("localhost:5000/a@{}", digest(2)),
            format!("busybox@{}", digest(3)),
        ];
        for (image, expected) in [
            ("localhost:5000/a:1", Some(digest(2))),
            ("docker.io/library/busybox", Some(digest(3))),
            ("localhost:5000/b:1", None),
            (&format!("localhost:5000/b@{}", digest(9)), Some(digest(9))),
        ] {
            assert_eq!(local_digest(&image.parse().unwrap(), Some(&known)), expected, "{image}");
        }
        assert_eq!(local_digest(&"a".parse().unwrap(), None), None, "only loaded");
    }
}
