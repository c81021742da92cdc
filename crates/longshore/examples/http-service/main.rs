//! A service that runs jobs for its tenants, to be copied into a service of your own.
//!
//! Jobs come in as JSON, with the keys of a job file, and run on the first configured runner that can
//! take them. `JOB_*` variables configure Longshore as they configure the command.
//!
//! ```sh
//! cat > tenants.toml <<'EOF'
//! [[tenants]]
//! name = "ops"
//! token = "letmein"
//! policy = { processes = true, maxTimeout = "1h" }
//! EOF
//! SERVICE_TENANTS=tenants.toml JOB_TIMEOUT=10m cargo run -p longshore --example http-service &
//! curl() { command curl -s -H 'Authorization: Bearer letmein' "$@"; }
//! curl localhost:8080/jobs --json '{"process": {"command": ["sh", "-c", "echo hello; sleep 60"]}}'
//! curl localhost:8080/jobs                   # newest first; ?state=Running&limit=10&after=CURSOR
//! curl localhost:8080/jobs/ID                # how far it is, and its result
//! curl -N localhost:8080/jobs/ID/logs        # its output, as the job writes it
//! curl -X DELETE localhost:8080/jobs/ID      # TERM, the job's grace period, KILL
//! curl localhost:8080/healthz                # what is known of each runner
//! curl localhost:8080/metrics                # for Prometheus
//! ```

mod api;
mod service;
mod spare;
mod tenants;

fn main() -> anyhow::Result<()> {
    // First: this program may be started again as the supervisor of a local job.
    longshore::init();
    longshore::raise_limits();
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    tokio::runtime::Runtime::new()?
        .block_on(async { service::serve(service::builder(&service::config()?)?.build()?).await })
}
