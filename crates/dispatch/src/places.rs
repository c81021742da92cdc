//! The places for jobs in flight (`maxJobs`), and who gets the next free one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use longshore_core::{Error, ErrorKind};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// The places of a dispatcher.
///
/// A free place goes to the highest priority that waits. Among equals, it goes to the share that has
/// the fewest places, then to the share that has waited longest for its turn, and within a share to
/// the job that has waited longest.
#[derive(Debug)]
pub(crate) struct Places {
    book: Mutex<Book>,
    /// Notified when a place is given back.
    freed: Notify,
}

/// Who wants a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) priority: i32,
    /// Those with the same share, such as a tenant, take turns with those of other shares.
    pub(crate) share: Arc<str>,
}

#[derive(Debug)]
struct Book {
    /// How many places there are.
    limit: usize,
    /// How many are taken: after a reload, perhaps more than there are.
    taken: usize,
    /// The shares that have places or wait for some.
    shares: HashMap<Arc<str>, Share>,
    waiting: BTreeMap<i32, BTreeMap<Arc<str>, VecDeque<Waiter>>>,
    /// How many of those that wait are on record.
    recorded: usize,
    next: u64,
    turns: u64,
    /// Whether nobody gets a place any more.
    closed: bool,
}

#[derive(Debug, Default)]
struct Share {
    /// How many places it has.
    taken: usize,
    /// The turn in which it was last given a place, or 0.
    turn: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    recorded: bool,
    place: oneshot::Sender<Place>,
}

/// A place, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    share: Arc<str>,
}

/// A turn in the queue for a place, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    places: Arc<Places>,
    rank: Rank,
    number: u64,
    place: oneshot::Receiver<Place>,
}

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let book = Book {
            limit: count,
            taken: 0,
            shares: HashMap::new(),
            waiting: BTreeMap::new(),
            recorded: 0,
            next: 0,
            turns: 0,
            closed: false,
        };
        Arc::new(Self { book: Mutex::new(book), freed: Notify::new() })
    }

    /// Queues for a place. A job that waits while it is `recorded` counts towards the limit of the
    /// queue.
    pub(crate) fn queue(self: &Arc<Self>, rank: Rank, recorded: bool) -> Ticket {
        let (sender, place) = oneshot::channel();
        let number = {
            let mut book = self.book.lock();
            book.next += 1;
            let waiter = Waiter { number: book.next, recorded, place: sender };
            book.recorded += usize::from(recorded);
            book.shares.entry(Arc::clone(&rank.share)).or_default();
            let shares = book.waiting.entry(rank.priority).or_default();
            shares.entry(Arc::clone(&rank.share)).or_default().push_back(waiter);
            book.next
        };
        self.give();
        Ticket { places: Arc::clone(self), rank, number, place }
    }

    /// As [`queue`](Self::queue) for a job that is on record, unless `limit` such jobs wait.
    ///
    /// # Errors
    /// `Saturated`.
    pub(crate) fn queue_within(
        self: &Arc<Self>,
        rank: Rank,
        limit: usize,
    ) -> Result<Ticket, Error> {
        let waiting = self.book.lock().recorded;
        if waiting >= limit && !self.is_free() {
            let message = format!("{waiting} jobs wait for a place (job.maxQueuedJobs)");
            return Err(Error::new(ErrorKind::Saturated, message));
        }
        Ok(self.queue(rank, true))
    }

    /// Whether there is a free place, for which nobody waits.
    pub(crate) fn is_free(&self) -> bool {
        let book = self.book.lock();
        book.taken < book.limit
    }

    /// Returns once a place is given back after this call.
    pub(crate) fn freed(&self) -> impl Future<Output = ()> + '_ {
        self.freed.notified()
    }

    /// Changes how many places there are. Those who have one keep it.
    pub(crate) fn resize(self: &Arc<Self>, count: usize) {
        self.book.lock().limit = count;
        self.give();
    }

    /// Gives no more places.
    pub(crate) fn close(&self) {
        self.book.lock().closed = true;
    }

    /// Gives free places to those who wait.
    fn give(self: &Arc<Self>) {
        loop {
            let Some((share, waiter)) = self.book.lock().next() else { return };
            let place = Place { places: Arc::clone(self), share };
            // Someone who has left at this moment returns the place by dropping it.
            drop(waiter.place.send(place));
        }
    }
}

impl Book {
    /// Returns who gets a free place, and books it.
    fn next(&mut self) -> Option<(Arc<str>, Waiter)> {
        if self.closed {
            return None;
        }
        if self.taken >= self.limit {
            return None;
        }
        let share = self.first()?;
        let mut shares = self.waiting.last_entry()?;
        let waiters = shares.get_mut().get_mut(&share)?;
        let waiter = waiters.pop_front()?;
        if waiters.is_empty() {
            shares.get_mut().remove(&share);
        }
        if shares.get().is_empty() {
            shares.remove();
        }
        self.recorded -= usize::from(waiter.recorded);
        self.taken += 1;
        self.turns += 1;
        let known = self.shares.entry(Arc::clone(&share)).or_default();
        *known = Share { taken: known.taken + 1, turn: self.turns };
        Some((share, waiter))
    }

    /// Returns the share whose turn it is.
    fn first(&self) -> Option<Arc<str>> {
        let (_, shares) = self.waiting.last_key_value()?;
        let turn = |(share, waiters): &(&Arc<str>, &VecDeque<Waiter>)| {
            let known = self.shares.get(*share).map(|share| (share.taken, share.turn));
            (known, waiters.front().map(|waiter| waiter.number))
        };
        shares.iter().min_by_key(turn).map(|(share, _)| Arc::clone(share))
    }

    fn leave(&mut self, rank: &Rank, number: u64) {
        let Some(shares) = self.waiting.get_mut(&rank.priority) else { return };
        let Some(waiters) = shares.get_mut(&rank.share) else { return };
        let Some(at) = waiters.iter().position(|waiter| waiter.number == number) else { return };
        if waiters.remove(at).is_some_and(|waiter| waiter.recorded) {
            self.recorded -= 1;
        }
        if waiters.is_empty() {
            shares.remove(&rank.share);
        }
        if shares.is_empty() {
            self.waiting.remove(&rank.priority);
        }
        self.forget(&rank.share);
    }

    /// Forgets `share` if it neither has a place nor waits for one.
    fn forget(&mut self, share: &Arc<str>) {
        let waits = || self.waiting.values().any(|shares| shares.contains_key(share));
        if self.shares.get(share).is_some_and(|known| known.taken == 0) && !waits() {
            self.shares.remove(share);
        }
    }

    fn give_back(&mut self, share: &Arc<str>) {
        self.taken -= 1;
        if let Some(known) = self.shares.get_mut(share) {
            known.taken -= 1;
        }
        self.forget(share);
    }
}

impl Ticket {
    /// Whether the place is given.
    pub(crate) fn is_ready(&self) -> bool {
        !self.place.is_empty()
    }

    /// Waits for a place.
    ///
    /// # Cancel safety
    /// Cancel safe: the turn stays.
    pub(crate) async fn place(&mut self) -> Result<Place, Error> {
        // The sender is in the book until the place is given.
        (&mut self.place)
            .await
            .map_err(|_| Error::new(ErrorKind::Internal, "failed to queue for a place"))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.places.book.lock().leave(&self.rank, self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.book.lock().give_back(&self.share);
        self.places.freed.notify_waiters();
        self.places.give();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn rank(priority: i32, share: &str) -> Rank {
        Rank { priority, share: share.into() }
    }

    fn placed(ticket: &mut Ticket) -> Option<Place> {
        ticket.place().now_or_never().map(Result::unwrap)
    }

    /// Frees one place after another, and returns the names of `tickets` in the order of their turns.
    fn order(place: Place, tickets: Vec<(&'static str, Ticket)>) -> Vec<&'static str> {
        let (mut tickets, mut place, mut order) = (tickets, Some(place), Vec::new());
        while let Some(taken) = place.take() {
            drop(taken);
            for (name, ticket) in &mut tickets {
                if !order.contains(name)
                    && let Some(next) = placed(ticket)
                {
                    order.push(*name);
                    place = Some(next);
                    break;
                }
            }
        }
        order
    }

    #[test]
    fn higher_priorities_come_first_and_equals_in_order() {
        let places = Places::new(1);
        let first = placed(&mut places.queue(rank(0, ""), false)).unwrap();
        let ticket = |name, priority| (name, places.queue(rank(priority, ""), false));
        let tickets = vec![ticket("a", 0), ticket("b", 5), ticket("c", -1), ticket("d", 5)];
        assert_eq!(order(first, tickets), ["b", "d", "a", "c"]);
        assert!(places.is_free());
    }

    #[test]
    fn a_share_with_many_jobs_does_not_delay_another() {
        let places = Places::new(4);
        let mut held: Vec<_> =
            (0..4).map(|_| placed(&mut places.queue(rank(0, "big"), false)).unwrap()).collect();
        let mut big: Vec<_> = (0..10).map(|_| places.queue(rank(0, "big"), false)).collect();
        let mut small: Vec<_> = (0..3).map(|_| places.queue(rank(0, "small"), false)).collect();
        held.pop();
        held.pop();
        let now = [&mut small, &mut big].map(|tickets| {
            let placed: Vec<_> = tickets.iter_mut().filter_map(placed).collect();
            let count = placed.len();
            held.extend(placed);
            count
        });
        assert_eq!(now, [2, 0], "both have two now");
    }

    #[test]
    fn who_leaves_the_queue_or_does_not_take_the_place_blocks_nobody() {
        let places = Places::new(1);
        let first = placed(&mut places.queue(rank(0, ""), false)).unwrap();
        let left = places.queue(rank(9, ""), true);
        let given = places.queue(rank(5, ""), true);
        let mut last = places.queue(rank(0, ""), true);
        drop(left);
        drop(first);
        // It has been given the place, and leaves without it.
        drop(given);
        drop(placed(&mut last).unwrap());
        assert!(places.is_free());
        let book = places.book.lock();
        assert!(
            book.waiting.is_empty() && book.shares.is_empty() && book.recorded == 0,
            "{book:?}"
        );
    }

    #[test]
    fn the_queue_on_record_is_bounded() {
        let places = Places::new(1);
        let first = places.queue_within(rank(0, ""), 0).unwrap();
        let queued = places.queue_within(rank(0, ""), 1).unwrap();
        let error = places.queue_within(rank(0, ""), 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Saturated);
        assert_eq!(error.to_string(), "1 jobs wait for a place (job.maxQueuedJobs)");
        // Those that are not on record do not count.
        let other = places.queue(rank(0, ""), false);
        drop((queued, other));
        assert!(places.queue_within(rank(0, ""), 1).is_ok());
        drop(first);
    }
}
