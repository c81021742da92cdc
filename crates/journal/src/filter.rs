//! Which records to list.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::str::FromStr;

use jiff::Timestamp;
use longshore_core::{JobId, RunnerName};
use serde::{Deserialize, Serialize};

use crate::record::{Record, State};

/// Which records to list, newest first. A record must fulfil all conditions.
///
/// A service can read it from the query of a URL, such as `?state=Running&limit=10`, and then add the
/// label of the tenant that asks.
///
/// # Examples
/// All jobs of a tenant, in pages:
///
/// ```
/// use longshore_journal::{Filter, Journal, Record, Result};
///
/// async fn all_of(journal: &Journal, tenant: &str) -> Result<Vec<Record>> {
///     let filter = Filter::default().label("example.org/tenant", tenant).limit(100);
///     let mut all = journal.list(filter.clone()).await?;
///     while let Some(last) = all.last() {
///         let page = journal.list(filter.clone().after(last.cursor())).await?;
///         if page.is_empty() {
///             break;
///         }
///         all.extend(page);
///     }
///     Ok(all)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Filter {
    /// Whether to include jobs that have ended. Default: true.
    pub ended: bool,
    /// The maximum number of records, newest first. Default: 1000.
    pub limit: u32,
    /// The name that the job must have. Default: any, also none.
    pub name: Option<String>,
    /// The labels that the job must have, each with this value. Default: none.
    pub labels: Vec<(String, String)>,
    /// The state that the job must be in. Default: any.
    pub state: Option<State>,
    /// The runner that the job may be on or ran on. Default: any, also none.
    pub runner: Option<RunnerName>,
    /// The first and the last time at which the job may have been submitted, in microseconds.
    /// Default: any.
    pub submitted: (Option<Timestamp>, Option<Timestamp>),
    /// The last record of the page before. Default: none.
    pub after: Option<Cursor>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            ended: true,
            limit: 1000,
            name: None,
            labels: Vec::new(),
            state: None,
            runner: None,
            submitted: (None, None),
            after: None,
        }
    }
}

impl Filter {
    /// Excludes jobs that have ended.
    #[must_use]
    pub fn not_ended(mut self) -> Self {
        self.ended = false;
        self
    }

    /// Sets the maximum number of records.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Includes only jobs with this `name`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Includes only jobs with the label `key` of this `value`. Can be called for several labels.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// Includes only jobs in `state`.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// Includes only jobs that may be on `runner` or ran on it.
    #[must_use]
    pub fn runner(mut self, runner: RunnerName) -> Self {
        self.runner = Some(runner);
        self
    }

    /// Includes only jobs that were submitted within `times`. Times are compared in microseconds.
    #[must_use]
    pub fn submitted(mut self, times: impl RangeBounds<Timestamp>) -> Self {
        let microsecond = jiff::SignedDuration::from_micros(1);
        let from = match times.start_bound() {
            Bound::Included(from) => Some(*from),
            Bound::Excluded(from) => Some(from.saturating_add(microsecond).unwrap_or(*from)),
            Bound::Unbounded => None,
        };
        let to = match times.end_bound() {
            Bound::Included(to) => Some(*to),
            Bound::Excluded(to) => Some(to.saturating_sub(microsecond).unwrap_or(*to)),
            Bound::Unbounded => None,
        };
        self.submitted = (from, to);
        self
    }

    /// Continues after the record with this [cursor](Record::cursor), the last one of the page
    /// before. Jobs that are submitted meanwhile are newer, and change no later page.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }
}

/// The place of a record in the order of all records. As text, it can be a part of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub(crate) submitted_at: i64,
    pub(crate) job: JobId,
}

longshore_core::serde_as_text!(Cursor);

/// The error for text that is not a cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor: take it from the last record of a page")]
pub struct CursorError(String);

impl Record {
    /// Returns the record's place in the order of all records, for [`Filter::after`].
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { submitted_at: self.submitted_at.as_microsecond(), job: self.id.clone() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.submitted_at, self.job)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parsed = text.split_once('.').and_then(|(time, job)| {
            Some(Self { submitted_at: time.parse().ok()?, job: job.parse().ok()? })
        });
        parsed.ok_or_else(|| CursorError(text.to_owned()))
    }
}
