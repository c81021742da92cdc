//! The requests that the service answers.

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use futures::StreamExt;
use longshore::dispatch::BreakerState;
use longshore::job::{LogChunk, LogPosition, WhenFull};
use longshore::journal::{self, Filter, Record};
use longshore::runner::RunnerName;
use longshore::{Dispatcher, Error, ErrorKind, JobId, JobResult, JobSpec, Submission};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::tenants::{Caller, Tenant, Tenants};

/// The label that names the tenant of a job.
const TENANT: &str = "example.org/tenant";
/// The most jobs on one page.
const PAGE: u32 = 100;

/// What all requests share.
#[derive(Clone)]
pub struct Service {
    pub dispatcher: Dispatcher,
    pub metrics: PrometheusHandle,
    /// Cancelled when the service stops, so that no output is streamed any longer.
    pub stopping: CancellationToken,
}

pub fn routes(service: Service, tenants: Tenants) -> Router {
    Router::new()
        .route("/jobs", get(list).post(submit))
        .route("/jobs/{id}", get(show).delete(cancel))
        .route("/jobs/{id}/logs", get(logs))
        .route("/healthz", get(health))
        .route("/metrics", get(async |State(service): State<Service>| service.metrics.render()))
        .layer(Extension(tenants))
        .with_state(service)
}

/// A job, as its tenant sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    id: JobId,
    name: Option<String>,
    state: journal::State,
    runner: Option<RunnerName>,
    result: Option<JobResult>,
}

impl From<Record> for View {
    fn from(record: Record) -> Self {
        let state = record.state();
        let runner = record.committed().map(|attempt| attempt.handle.runner.clone());
        let Record { id, spec, result, .. } = record;
        Self { id, name: spec.name.clone(), state, runner, result }
    }
}

/// Takes a job. A second request with the same `Idempotency-Key` gets the job of the first.
async fn submit(
    State(service): State<Service>,
    Caller(tenant): Caller,
    headers: HeaderMap,
    Json(spec): Json<JobSpec>,
) -> Result<impl IntoResponse, Refusal> {
    // The output stays on the runner, where `logs` reads it. With `maxJobs` in flight, it is a 503.
    let mut submission = Submission::new(spec).without_logs().kept().when_full(WhenFull::Refuse);
    submission = submission.policy(&tenant.policy).label(TENANT, &tenant.name);
    if let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) {
        submission = submission.with_key(format!("{}/{key}", tenant.name));
    }
    let job = service.dispatcher.submit(submission).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": job.id()}))))
}

/// Lists the tenant's jobs, newest first. `next` is the `after` of the next page.
async fn list(
    State(service): State<Service>,
    Caller(tenant): Caller,
    Query(filter): Query<Filter>,
) -> Result<impl IntoResponse, Refusal> {
    let limit = filter.limit.min(PAGE);
    let page = service.dispatcher.records(filter.limit(limit).label(TENANT, &tenant.name)).await?;
    let next = page.last().map(Record::cursor);
    let jobs: Vec<View> = page.into_iter().map(View::from).collect();
    Ok(Json(json!({"jobs": jobs, "next": next})))
}

/// Returns the record of a job of `tenant`. Another tenant's job does not exist for it.
async fn own(service: &Service, tenant: &Tenant, id: &JobId) -> Result<Record, Error> {
    match service.dispatcher.recorded(id).await {
        Ok(record) if record.spec.labels.get(TENANT) == Some(&tenant.name) => Ok(record),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Err(Error::new(ErrorKind::NotFound, "there is no such job").with("job", id)),
    }
}

async fn show(
    State(service): State<Service>,
    Caller(tenant): Caller,
    Path(id): Path<JobId>,
) -> Result<Json<View>, Refusal> {
    Ok(Json(own(&service, &tenant, &id).await?.into()))
}

async fn cancel(
    State(service): State<Service>,
    Caller(tenant): Caller,
    Path(id): Path<JobId>,
) -> Result<StatusCode, Refusal> {
    own(&service, &tenant, &id).await?;
    service.dispatcher.cancel(&id, None).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Streams a job's output from its beginning to its end, stdout and stderr as they come.
async fn logs(
    State(service): State<Service>,
    Caller(tenant): Caller,
    Path(id): Path<JobId>,
) -> Result<Body, Refusal> {
    own(&service, &tenant, &id).await?;
    let chunks = service.dispatcher.logs(&id, LogPosition::START, true).await?;
    let bytes = chunks.map(|chunk| match chunk? {
        LogChunk::Data { bytes, .. } => Ok(bytes),
        _ => Ok::<_, Error>(Bytes::from_static(b"\n[output was lost]\n")),
    });
    Ok(Body::from_stream(bytes.take_until(service.stopping.cancelled_owned())))
}

/// Reports what is known of each runner, without asking it. Fails if all are known to be away.
async fn health(State(service): State<Service>) -> impl IntoResponse {
    let runners = service.dispatcher.runner_status();
    let away = runners.iter().all(|it| matches!(it.breaker, BreakerState::Open { .. }));
    let status = if away { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(json!({"runners": runners})))
}

/// Why a request fails.
struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let (status, message) = match error.kind() {
            ErrorKind::InvalidSpec => (StatusCode::BAD_REQUEST, error.to_string()),
            ErrorKind::Denied => (StatusCode::FORBIDDEN, error.to_string()),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, error.to_string()),
            kind => {
                // The details are the service's own, such as its paths and addresses.
                tracing::error!(%error, "a request failed");
                (StatusCode::SERVICE_UNAVAILABLE, kind.name().to_owned())
            }
        };
        (status, Json(json!({"error": message}))).into_response()
    }
}
