//! How long a launch waits for its image.

use longshore_core::{Error, ErrorKind, HumanDuration, ImageReason};
use tokio::time::{Instant, sleep_until};

use crate::start::ImageWait;

/// Counts the time for an image. What is not yet about the image when that time has passed, such
/// as a Pod without a node, is no failure of the image, and has until the start deadline.
#[derive(Debug)]
pub(crate) struct ImageClock {
    deadline: Instant,
    spent: bool,
    /// Since when the image is waited for, and what was heard last.
    waits: Option<(Instant, ImageWait)>,
}

impl ImageClock {
    /// For an image that must be there by `deadline`.
    pub(crate) const fn new(deadline: Instant) -> Self {
        Self { deadline, spent: false, waits: None }
    }

    /// Notes what is heard now; none if it is not the image that is waited for.
    pub(crate) fn look(&mut self, heard: Option<ImageWait>) {
        let since = self.waits.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        self.waits = heard.map(|heard| (since, heard));
    }

    /// Ends at the deadline; never again after that.
    pub(crate) async fn due(&self) {
        if self.spent {
            std::future::pending::<()>().await;
        }
        sleep_until(self.deadline).await;
    }

    /// Why the image is given up now, if it is; without `retry` at the first failure.
    pub(crate) fn failed(&mut self, retry: bool) -> Option<Error> {
        let over = !self.spent && Instant::now() >= self.deadline;
        self.spent |= over;
        let failing = matches!(self.waits, Some((_, ImageWait::Failing(_))));
        if over || (failing && !retry) { self.error() } else { None }
    }

    /// Why the image is not there, if it is the image that is waited for.
    pub(crate) fn error(&self) -> Option<Error> {
        let (since, heard) = self.waits.as_ref()?;
        let said = match heard {
            ImageWait::Failing(said) => said.clone(),
            ImageWait::Silent => {
                let waited = HumanDuration::from_secs(since.elapsed().as_secs().max(1));
                format!("the registry gave no answer within {waited}")
            }
        };
        Some(Error::new(ErrorKind::ImageUnavailable(ImageReason::Unreachable), said))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn refused() -> Option<ImageWait> {
        Some(ImageWait::Failing("connection refused".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_until_the_deadline_where_it_may_be() {
        let mut clock = ImageClock::new(Instant::now() + LIMIT);
        clock.look(refused());
        assert!(clock.failed(true).is_none());
        assert_eq!(clock.failed(false).unwrap().to_string(), "connection refused");
        clock.due().await;
        assert_eq!(clock.failed(true).unwrap().to_string(), "connection refused");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_given_up_at_the_deadline_alone() {
        let mut clock = ImageClock::new(Instant::now() + LIMIT);
        clock.look(Some(ImageWait::Silent));
        assert!(clock.failed(false).is_none());
        clock.due().await;
        let error = clock.failed(false).unwrap();
        assert_eq!(error.kind(), ErrorKind::ImageUnavailable(ImageReason::Unreachable));
        assert_eq!(error.to_string(), "the registry gave no answer within 1m");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_about_the_image_at_the_deadline_is_no_failure_of_it() {
        let mut clock = ImageClock::new(Instant::now() + LIMIT);
        clock.look(None);
        clock.due().await;
        assert!(clock.failed(true).is_none());
        clock.look(Some(ImageWait::Silent));
        assert!(clock.failed(true).is_none(), "it began later");
        let never = tokio::time::timeout(LIMIT, clock.due()).await;
        assert!(never.is_err(), "it is due once");
    }
}
