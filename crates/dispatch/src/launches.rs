//! The launches under way on one runner: how many there may be, and whether they make progress.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Error, ErrorKind, Event};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::Settings;

/// The shortest silence of a launch that suggests that the runner hangs.
const SHORTEST_SILENCE: Duration = Duration::from_secs(10);

/// The launches under way on one runner.
///
/// A launch that waits for an image or for a place says so, and may then be silent for as long as
/// its deadline allows. A launch that says nothing should be over soon. If it is not, and no other
/// launch returns either, the runner hangs.
#[derive(Debug)]
pub(crate) struct Launches {
    slots: Arc<Semaphore>,
    silence: Duration,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    next: u64,
    /// The launches that have begun and not returned.
    begun: BTreeSet<u64>,
    /// The launches that should be over soon, and since when they have been silent.
    silent: BTreeMap<u64, Instant>,
    /// When a launch last returned.
    last_return: Instant,
}

impl UnderWay {
    fn over(&mut self, number: u64) {
        self.begun.remove(&number);
        self.silent.remove(&number);
    }
}

impl Launches {
    pub(crate) fn new(settings: &Settings) -> Self {
        let slots = usize::try_from(settings.max_concurrent_launches.get())
            .unwrap_or(Semaphore::MAX_PERMITS)
            .min(Semaphore::MAX_PERMITS);
        let silence = settings.connect_timeout.get().saturating_mul(2).max(SHORTEST_SILENCE);
        let under_way = UnderWay {
            next: 0,
            begun: BTreeSet::new(),
            silent: BTreeMap::new(),
            last_return: Instant::now(),
        };
        Self { slots: Arc::new(Semaphore::new(slots)), silence, under_way: Mutex::new(under_way) }
    }

    /// Returns the number of launches under way.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.under_way.lock().begun.len()).unwrap_or(u32::MAX)
    }

    /// Waits for a free slot.
    pub(crate) async fn slot(self: &Arc<Self>) -> Result<Slot, Error> {
        let permit = self.acquire().await?;
        let number = {
            let mut under_way = self.under_way.lock();
            under_way.next += 1;
            under_way.next
        };
        Ok(Slot { launches: Arc::clone(self), number, permit: Some(permit) })
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_| Error::new(ErrorKind::Internal, "failed to queue for a launch"))
    }

    /// Returns once the runner hangs, with the reason for a job that waits to pass it over.
    pub(crate) async fn hang(&self) -> Error {
        loop {
            let check_at = {
                let under_way = self.under_way.lock();
                match under_way.silent.values().min() {
                    // A launch that begins now is not suspicious before that.
                    None => Instant::now() + self.silence,
                    Some(since) => under_way.last_return.max(*since) + self.silence,
                }
            };
            if check_at <= Instant::now() {
                return self.reason();
            }
            sleep_until(check_at).await;
        }
    }

    fn reason(&self) -> Error {
        let under_way = self.under_way.lock();
        let silent = under_way.silent.values().filter(|since| since.elapsed() >= self.silence);
        let message = format!(
            "the runner does not answer: its launches under way ({}) have reported nothing for {:?}",
            silent.count(),
            self.silence,
        );
        Error::new(ErrorKind::Unavailable, message)
    }
}

/// The right to make one launch at a time on a runner.
#[derive(Debug)]
pub(crate) struct Slot {
    launches: Arc<Launches>,
    number: u64,
    /// `None` after [`release`](Self::release).
    permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// Notes that a launch begins.
    pub(crate) fn begins(&self) {
        let mut under_way = self.launches.under_way.lock();
        under_way.begun.insert(self.number);
        under_way.silent.insert(self.number, Instant::now());
    }

    /// Notes progress of the launch.
    pub(crate) fn reports(&self, event: &Event) {
        let mut under_way = self.launches.under_way.lock();
        match event {
            Event::Pulling { .. } | Event::Waiting(_) => {
                under_way.silent.remove(&self.number);
            }
            _ => {
                under_way.silent.insert(self.number, Instant::now());
            }
        }
    }

    /// Notes that the launch has returned.
    pub(crate) fn returns(&self) {
        let mut under_way = self.launches.under_way.lock();
        under_way.last_return = Instant::now();
        under_way.over(self.number);
    }

    /// Leaves the slot to another job.
    pub(crate) fn release(&mut self) {
        self.launches.under_way.lock().over(self.number);
        self.permit = None;
    }

    /// Waits for a free slot if this one was released.
    pub(crate) async fn regain(&mut self) -> Result<(), Error> {
        if self.permit.is_none() {
            self.permit = Some(self.launches.acquire().await?);
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.release();
    }
}
