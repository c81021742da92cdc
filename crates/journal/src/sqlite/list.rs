//! Lists records. Each condition that may leave few of many records has an index in the order of the
//! list, so that a page is read without looking at all records.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::read::{COLUMNS, JobRow};
use crate::filter::Filter;
use crate::record::{Record, State};
use crate::store::Stored;

/// The state of the last attempt of a job.
const LAST: &str =
    "(SELECT a.state FROM attempts a WHERE a.job = jobs.id ORDER BY a.number DESC LIMIT 1)";

/// A query that grows by conditions.
#[derive(Default)]
struct Query {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Query {
    fn value(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn when(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }
}

pub(crate) fn list(db: &Connection, filter: Filter) -> Stored<Vec<Record>> {
    let (sql, values) = query(filter);
    let rows: Vec<JobRow> = db
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), JobRow::of)?
        .collect::<Result<_, _>>()?;
    rows.into_iter().map(|row| row.understood(db)).collect()
}

fn query(filter: Filter) -> (String, Vec<Value>) {
    let mut query = Query::default();
    let mut labels = filter.labels.into_iter();
    // The first label leads, in the order of its index; the others are looked up for each job.
    let (from, time, job) = match labels.next() {
        Some((key, value)) => {
            let (key, value) = (query.value(key), query.value(value));
            query.when(format!("l.key = {key} AND l.value = {value}"));
            ("labels l CROSS JOIN jobs ON jobs.id = l.job", "l.time", "l.job")
        }
        None => ("jobs", "jobs.submitted_at", "jobs.id"),
    };
    for (key, value) in labels {
        let (key, value) = (query.value(key), query.value(value));
        query.when(format!(
            "EXISTS (SELECT 1 FROM labels o WHERE o.key = {key} AND o.value = {value} \
             AND o.time = jobs.submitted_at AND o.job = jobs.id)"
        ));
    }
    if !filter.ended {
        query.when("jobs.removed_at IS NULL AND jobs.result IS NULL");
    }
    match filter.state {
        None => {}
        Some(State::Ended) => query.when("jobs.result IS NOT NULL"),
        Some(State::Queued) => {
            query.when(format!("jobs.result IS NULL AND coalesce({LAST}, 'refused') = 'refused'"));
        }
        Some(State::Launching) => query.when(format!("jobs.result IS NULL AND {LAST} = 'intent'")),
        Some(State::Running) => {
            query.when(format!("jobs.result IS NULL AND {LAST} IN ('started', 'ended')"));
        }
    }
    if let Some(name) = filter.name {
        let name = query.value(name);
        query.when(format!("jobs.name = {name}"));
    }
    if let Some(runner) = filter.runner {
        let runner = query.value(runner.to_string());
        query.when(format!("jobs.runner = {runner}"));
    }
    let (earliest, latest) = filter.submitted;
    if let Some(earliest) = earliest {
        let earliest = query.value(earliest.as_microsecond());
        query.when(format!("{time} >= {earliest}"));
    }
    if let Some(latest) = latest {
        let latest = query.value(latest.as_microsecond());
        query.when(format!("{time} <= {latest}"));
    }
    if let Some(cursor) = filter.after {
        let (at, id) = (query.value(cursor.submitted_at), query.value(cursor.job.to_string()));
        query.when(format!("({time}, {job}) < ({at}, {id})"));
    }
    if query.conditions.is_empty() {
        query.when("true");
    }
    let limit = query.value(filter.limit);
    let conditions = query.conditions.join(" AND ");
    let sql = format!(
        "SELECT {COLUMNS} FROM {from} WHERE {conditions} \
         ORDER BY {time} DESC, {job} DESC LIMIT {limit}"
    );
    (sql, query.values)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use longshore_core::RunnerName;

    use super::*;
    use crate::sqlite::Database;

    fn plan(filter: Filter) -> String {
        let database = Database::memory().unwrap();
        let (sql, values) = query(filter);
        let mut statement =
            database.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement
            .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
            .unwrap()
            .collect::<Result<Vec<_>, _>>();
        rows.unwrap().join("; ")
    }

    #[test]
    fn a_page_is_read_from_an_index_in_its_order() {
        let filter = Filter::default;
        let cursor = || format!("{}.job", Timestamp::now().as_microsecond()).parse().unwrap();
        for (filter, index) in [
            (filter(), "jobs_by_time"),
            (filter().after(cursor()), "jobs_by_time"),
            (filter().submitted(Timestamp::UNIX_EPOCH..), "jobs_by_time"),
            (filter().runner(RunnerName::docker()), "jobs_by_runner"),
            (filter().runner(RunnerName::docker()).after(cursor()), "jobs_by_runner"),
            (filter().name("nightly"), "jobs_by_name"),
            (filter().not_ended(), "jobs_open"),
            (filter().state(State::Running), "jobs_open"),
            (filter().state(State::Queued).after(cursor()), "jobs_open"),
            (filter().label("a", "b"), "SEARCH l USING PRIMARY KEY"),
            (
                filter().label("a", "b").label("c", "d").after(cursor()),
                "SEARCH l USING PRIMARY KEY",
            ),
        ] {
            let plan = plan(filter.clone());
            assert!(plan.contains(index), "{filter:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{filter:?} sorts: {plan}");
        }
    }
}
