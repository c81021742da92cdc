//! Pins an image reference to one digest, whichever runner a job runs on (`job.pinDigest`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Error, ErrorKind, ImageReason, ImageRef};
use parking_lot::Mutex as StdMutex;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

/// The image that a reference was resolved to, if it was resolved.
type Resolved = Option<ImageRef>;

/// The references that this dispatcher has resolved. There is one entry per reference. Entries are
/// kept as long as the dispatcher, because `pinDigest` promises that.
#[derive(Debug, Default)]
pub(crate) struct Pins(StdMutex<HashMap<String, Arc<Mutex<Resolved>>>>);

/// How a job treats the digest of its image.
#[derive(Debug)]
pub(crate) enum Pin {
    /// Launch the image as named.
    AsNamed,
    /// Launch this image: the same image, by its digest.
    Known(ImageRef),
    /// Determine the digest. Other jobs with the same image wait until this is dropped.
    Lead(ImageRef, OwnedMutexGuard<Resolved>),
}

impl Pins {
    /// Returns how to treat `image`. Waits at most `patience` while another job determines the
    /// digest.
    ///
    /// # Errors
    /// `Unreachable` if the other job took longer: launched by its tag, this job might run a
    /// different image.
    pub(crate) async fn pin(&self, image: &ImageRef, patience: Duration) -> Result<Pin, Error> {
        if !image.is_mutable() {
            return Ok(Pin::AsNamed);
        }
        let entry = self.entry(image);
        let resolved = timeout(patience, entry.lock_owned()).await.map_err(|_| {
            let kind = ErrorKind::ImageUnavailable(ImageReason::Unreachable);
            let message = "no job with this image has started, so its digest is not known \
                           (job.pinDigest)";
            Error::new(kind, message).with("image", image).with("waited", format!("{patience:?}"))
        })?;
        Ok(match &*resolved {
            Some(pinned) => Pin::Known(pinned.clone()),
            None => Pin::Lead(image.clone(), resolved),
        })
    }

    fn entry(&self, image: &ImageRef) -> Arc<Mutex<Resolved>> {
        let mut pins = self.0.lock();
        Arc::clone(pins.entry(image.canonical()).or_default())
    }
}

impl Pin {
    /// Returns the image to launch in place of the one that the job names.
    pub(crate) const fn image(&self) -> Option<&ImageRef> {
        match self {
            Self::Known(pinned) => Some(pinned),
            Self::AsNamed | Self::Lead(..) => None,
        }
    }

    /// Records the digest of the image that the job started with. An image that was only loaded has
    /// no digest; then the next job determines it.
    pub(crate) fn resolve(&mut self, digest: Option<&str>) {
        if let (Self::Lead(image, resolved), Some(digest)) = (self, digest) {
            **resolved = image.pinned(digest).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const MINUTE: Duration = Duration::from_secs(60);

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_first_finds_out_for_all() {
        let pins = Pins::default();
        let mut first = pins.pin(&image("x:1"), MINUTE).await.unwrap();
        assert!(matches!(first, Pin::Lead(..)) && first.image().is_none());
        let late = pins.pin(&image("docker.io/library/x:1"), MINUTE).await.unwrap_err();
        assert!(late.to_string().contains("job.pinDigest"), "{late}");
        let other = pins.pin(&image("x:2"), MINUTE).await.unwrap();
        assert!(matches!(other, Pin::Lead(..)));
        first.resolve(Some(DIGEST));
        drop(first);
        let pinned = format!("docker.io/library/x@{DIGEST}");
        for name in ["x:1", "docker.io/library/x:1"] {
            let pin = pins.pin(&image(name), MINUTE).await.unwrap();
            assert_eq!(pin.image().unwrap().as_str(), pinned);
        }
        let by_digest = pins.pin(&image(&pinned), MINUTE).await.unwrap();
        assert!(matches!(by_digest, Pin::AsNamed));
    }

    #[tokio::test(start_paused = true)]
    async fn who_could_not_find_out_leaves_it_to_the_next() {
        let pins = Pins::default();
        for digest in [None, Some("no digest")] {
            let mut pin = pins.pin(&image("x"), MINUTE).await.unwrap();
            pin.resolve(digest);
            assert!(matches!(pin, Pin::Lead(..)));
        }
        assert!(matches!(pins.pin(&image("x"), MINUTE).await.unwrap(), Pin::Lead(..)));
    }
}
