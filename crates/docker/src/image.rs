//! Making an image available as the pull policy says.

use std::future::Future;
use std::sync::Arc;

use bollard_stubs::models::ImageInspect;
use longshore_core::{
    Error, ErrorKind, Event, ImageReason, ImageRef, ImageReport, LaunchContext, LocalImage,
    PullPolicy, RESERVED_LABEL_PREFIX, Result,
};
use tokio::time::timeout_at;

use crate::client::Engine;
use crate::fault::{Fault, late};
use crate::image_fault::{NAME, refuses_name};
use crate::pull::{PullRequest, Pulled, Pulls, reference};

/// The search path if neither the job nor the image sets one: the engine's default for Linux.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image that exists on the engine.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Containers are created from the id, so that no other pull can move the tag in between. An
    /// image that was only loaded or imported has no digest, but always an id.
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) path: String,
    pub(crate) working_dir: String,
    /// The keys of labels that are Longshore's: the image was committed from a job's container.
    pub(crate) reserved_labels: Vec<String>,
    pub(crate) report: ImageReport,
}

/// Makes the image available as `policy` says, by the context's deadlines.
pub(crate) async fn resolve(
    request: &PullRequest<'_>,
    pulls: &Arc<Pulls>,
    policy: PullPolicy,
    context: &LaunchContext,
) -> Result<Image> {
    let PullRequest { engine, image, .. } = *request;
    let mut since = match policy {
        PullPolicy::Always => None,
        _ => Some(pulls.succeeded()),
    };
    loop {
        if policy != PullPolicy::Always
            && let Some(local) = by_deadline(context, inspect(engine, image)).await?
        {
            return read(engine, image, policy, &local, None);
        }
        if policy == PullPolicy::Never {
            return Err(Error::new(
                ErrorKind::ImageUnavailable(ImageReason::NotPresent),
                "the image is not on the Docker engine, and the pull policy is Never",
            )
            .with("image", image));
        }
        let pulled = pulls.pull(request, context, since).await;
        match pulled.map_err(|fault| fault.error(image.as_str()))? {
            Pulled::LookAgain => since = None,
            Pulled::Done(digest) => {
                context.events.emit(Event::Pulled);
                let pulled = by_deadline(context, inspect(engine, image)).await?;
                let pulled = pulled.ok_or_else(|| gone(image))?;
                return read(engine, image, policy, &pulled, Some(digest));
            }
        }
    }
}

/// Whether the engine has `image`.
pub(crate) async fn local(engine: &Engine, image: &ImageRef) -> Result<LocalImage> {
    Ok(match inspect(engine, image).await? {
        Some(found) => LocalImage::Present { digest: local_digest(engine, image, &found) },
        None => LocalImage::Absent,
    })
}

async fn by_deadline<T>(
    context: &LaunchContext,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout_at(context.deadline, work).await.unwrap_or_else(|_| Err(late()))
}

fn gone(image: &ImageRef) -> Error {
    Error::new(ErrorKind::Unavailable, "the image was pulled, but no longer exists")
        .with("image", image)
}

async fn inspect(engine: &Engine, image: &ImageRef) -> Result<Option<ImageInspect>> {
    const FAILED: &str = "failed to look for the image";
    let found = engine.inspect_image(&reference(image)).await;
    found.map_err(|fault| match fault {
        Fault::Answered { message, .. } if refuses_name(&message) => {
            Error::new(ErrorKind::Unsupported, FAILED)
                .with("image", image)
                .caused_by(format!("{} ({NAME})", message.trim()))
        }
        fault => fault.into_error(FAILED).with("image", image),
    })
}

/// Reads an inspected image. `pulled` is set if this launch pulled it, to the digest that the
/// engine named, if it did.
fn read(
    engine: &Engine,
    image: &ImageRef,
    policy: PullPolicy,
    found: &ImageInspect,
    pulled: Option<Option<String>>,
) -> Result<Image> {
    let id = found.id.clone().ok_or_else(|| {
        Error::new(ErrorKind::Internal, "the engine reports no id of the image")
            .with("image", image)
    })?;
    let mut report = ImageReport::new(image.as_str(), policy);
    report.pulled = Some(pulled.is_some());
    report.resolved = pulled.flatten().or_else(|| local_digest(engine, image, found));
    let config = found.config.clone().unwrap_or_default();
    let path = config.env.iter().flatten().find_map(|pair| pair.strip_prefix("PATH="));
    Ok(Image {
        id,
        user: config.user.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        path: path.unwrap_or(DEFAULT_PATH).to_owned(),
        working_dir: config.working_dir.unwrap_or_default(),
        reserved_labels: config
            .labels
            .unwrap_or_default()
            .into_keys()
            .filter(|key| is_reserved(key))
            .collect(),
        report,
    })
}

fn is_reserved(key: &str) -> bool {
    key.starts_with(RESERVED_LABEL_PREFIX)
}

fn local_digest(engine: &Engine, image: &ImageRef, found: &ImageInspect) -> Option<String> {
    image.digest().map(str::to_owned).or_else(|| known_digest(image, found, engine.tells_origin()))
}

/// The digest under which the image's repository knows it; `None` if it was only built, loaded or
/// imported.
///
/// - `RepoDigests` may list several repositories.
/// - With the containerd store an image's id is the digest that its tag names, and `RepoDigests`
///   has that for each of its tags, wherever the image came from. Where it came from is in
///   `Identity.Pull`, from API 1.53 (Docker 29.3) on; before that, it is unknown.
/// - With the engine's own store `RepoDigests` has what was pulled, and only that. Where one
///   image was pulled by several digests (an index and one of its manifests), it does not say
///   which the tag names: then it is the first.
fn known_digest(image: &ImageRef, found: &ImageInspect, tells_origin: bool) -> Option<String> {
    let of_repository = |known: &&String| {
        known.parse::<ImageRef>().is_ok_and(|known| {
            known.registry() == image.registry() && known.repository() == image.repository()
        })
    };
    let digests: Vec<&str> = found
        .repo_digests
        .iter()
        .flatten()
        .filter(of_repository)
        .filter_map(|known| known.split_once('@').map(|(_, digest)| digest))
        .collect();
    let id = found.id.as_deref().unwrap_or_default();
    match digests.iter().find(|digest| **digest == id) {
        Some(_) if tells_origin && !was_pulled(image, found) => None,
        Some(digest) => Some((*digest).to_owned()),
        None => digests.first().map(|digest| (*digest).to_owned()),
    }
}

/// Whether the engine reports that the image came from its registry. The check compares the
/// registry's host only, not the repository: of two simultaneous pulls of one content from two
/// repositories the store may record only one, and it records at most 4096 bytes of them.
fn was_pulled(image: &ImageRef, found: &ImageInspect) -> bool {
    let host = image.registry().split(':').next().unwrap_or_default();
    let pulls = found.identity.iter().flat_map(|identity| identity.pull.iter().flatten());
    pulls
        .filter_map(|pull| pull.repository.as_deref()?.split('/').next())
        .any(|registry| registry == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: u8) -> String {
        format!("sha256:{}", format!("{of:02x}").repeat(32))
    }

    /// An inspected image as engines with their own store and with the containerd store report it,
    /// seen on 20.10 and 29.
    fn found(id: &str, repo_digests: &[String], pulled_from: &[&str]) -> ImageInspect {
        let pull: Vec<_> =
            pulled_from.iter().map(|from| serde_json::json!({"Repository": from})).collect();
        let identity = (!pull.is_empty()).then(|| serde_json::json!({"Pull": pull}));
        serde_json::from_value(serde_json::json!({
            "Id": id, "RepoDigests": repo_digests, "Identity": identity,
        }))
        .unwrap()
    }

    #[test]
    fn the_digest_is_that_of_the_images_own_repository() {
        let known = [
            format!("localhost:5000/other@{}", digest(1)),
            format!("localhost:5000/a@{}", digest(2)),
            format!("busybox@{}", digest(3)),
        ];
        let found = found(&digest(8), &known, &[]);
        for (image, expected) in [
            ("localhost:5000/a:1", Some(digest(2))),
            ("docker.io/library/busybox", Some(digest(3))),
            ("busybox", Some(digest(3))),
            ("localhost:5000/b:1", None),
        ] {
            for tells_origin in [false, true] {
                let image = image.parse().unwrap();
                assert_eq!(known_digest(&image, &found, tells_origin), expected, "{image}");
            }
        }
        let loaded = ImageInspect { repo_digests: None, ..found };
        assert_eq!(known_digest(&"a".parse().unwrap(), &loaded, false), None, "only loaded");
    }

    #[test]
    fn a_digest_that_the_containerd_store_made_up_is_none() {
        let image: ImageRef = "localhost:5000/a:1".parse().unwrap();
        let known = [format!("localhost:5000/a@{}", digest(1))];
        let reported = |pulled_from: &[&str], tells_origin| {
            known_digest(&image, &found(&digest(1), &known, pulled_from), tells_origin)
        };
        assert_eq!(reported(&["localhost/a"], true), Some(digest(1)));
        assert_eq!(reported(&["docker.io/library/b", "localhost/a"], true), Some(digest(1)));
        assert_eq!(reported(&["localhost/b"], true), Some(digest(1)), "two pulls at once");
        assert_eq!(reported(&[], true), None, "loaded or imported");
        assert_eq!(reported(&["docker.io/library/a"], true), None, "tagged here with another name");
        assert_eq!(reported(&[], false), Some(digest(1)), "the engine does not report it");
    }

    #[test]
    fn of_several_digests_the_id_is_the_one_that_the_tag_names() {
        let image: ImageRef = "localhost:5000/a:1".parse().unwrap();
        let known = [1, 2].map(|of| format!("localhost:5000/a@{}", digest(of)));
        let found = found(&digest(2), &known, &["localhost/a"]);
        assert_eq!(known_digest(&image, &found, true), Some(digest(2)));
    }
}
