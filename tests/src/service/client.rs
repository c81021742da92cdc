//! A running service, and requests to it.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::until;
use crate::programs;
use crate::running::{PATIENCE, Running};

/// The tenants: `ops` may run local processes, `guest` nothing but containers.
const TENANTS: &str = r#"
[[tenants]]
name = "ops"
token = "ops-token"
policy = { processes = true, serviceLogins = true, registries = ["REGISTRY"], maxTimeout = "1h" }

[[tenants]]
name = "guest"
token = "guest-token"
"#;

/// A running service.
pub(crate) struct Service {
    running: Running,
    address: SocketAddr,
}

impl Service {
    /// Starts the service with `backends`, and with 512 file descriptors.
    pub(crate) fn start(bench: &Bench, backends: &[Backend], retention: &str) -> Result<Self> {
        let image = bench.lab.image.as_deref().unwrap_or_default();
        let registry = image.split('/').next().unwrap_or_default();
        let tenants = bench.folders.file("tenants.toml", TENANTS.replace("REGISTRY", registry))?;
        let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
        let command = bench
            .program(Path::new("/bin/sh"))?
            .args(["-c", "ulimit -n 512 && exec \"$0\""])
            .arg(programs::faulty_service()?)
            .env("JOB_RUNNERS", names.join(","))
            .env("JOB_RETENTION", retention)
            .env("JOB_TIMEOUT", "10m")
            .env("SERVICE_ADDRESS", "127.0.0.1:0")
            .env("SERVICE_TENANTS", tenants);
        let command = backends.iter().fold(command, |command, it| bench.reaching(command, *it));
        let running = command.spawn()?;
        running.until_stderr("\"listening\"")?;
        let address = until(PATIENCE, "the service's address", || Ok(address(&running.errors())))?;
        Ok(Self { running, address })
    }

    /// Returns a client with the token of `tenant`.
    pub(crate) fn client(&self, tenant: &str) -> Client {
        Client { address: self.address, token: format!("{tenant}-token") }
    }

    /// Kills the service.
    pub(crate) fn kill(self) -> Result<()> {
        self.running.signal(Signal::KILL)?;
        ensure!(self.running.finish()?.code().is_none(), "it had ended before");
        Ok(())
    }

    /// Asks the service to stop, and waits until it has.
    pub(crate) fn stop(self) -> Result<()> {
        self.running.signal(Signal::TERM)?;
        self.running.finish()?.exits(0)
    }
}

/// Returns the address in the service's log.
fn address(log: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["fields"]["address"].as_str()?.parse().ok()).next()
}

/// A client of the service.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
}

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{self:?}"))
    }
}

impl Client {
    /// Sends a request. The connection then has the answer, and closes after it.
    fn send(&self, method: &str, path: &str, key: &str, body: &str) -> Result<TcpStream> {
        let mut connection = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(Duration::from_secs(10)))?;
        let (token, length) = (&self.token, body.len());
        write!(
            connection,
            "{method} {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        Ok(connection)
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        read(self.send(method, path, "", body)?)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        self.request("GET", path, "")
    }

    /// Submits a job, and returns its ID.
    pub(crate) fn submit(&self, key: &str, spec: &Value) -> Result<String> {
        let answer = read(self.send("POST", "/jobs", key, &spec.to_string())?)?;
        ensure!(answer.status == 202, "{answer:?}");
        let id = answer.json()?["id"].as_str().map(str::to_owned);
        id.with_context(|| format!("no ID in {answer:?}"))
    }

    /// Returns all jobs of this tenant by their IDs, read in pages.
    pub(crate) fn jobs(&self) -> Result<HashMap<String, Value>> {
        let mut jobs = HashMap::new();
        let mut page = self.get("/jobs?limit=100")?.json()?;
        while let Some(next) = page["next"].as_str() {
            let next = format!("/jobs?limit=100&after={next}");
            for job in page["jobs"].as_array().into_iter().flatten() {
                jobs.insert(job["id"].as_str().unwrap_or_default().to_owned(), job.clone());
            }
            page = self.get(&next)?.json()?;
        }
        ensure!(page["jobs"] == json!([]), "the last page has no cursor: {page}");
        Ok(jobs)
    }

    /// Reads a job's output until it contains `text`.
    pub(crate) fn logs_until(&self, id: &str, text: &str) -> Result<()> {
        let mut connection = self.send("GET", &format!("/jobs/{id}/logs"), "", "")?;
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&read).contains(text) {
            let count = connection.read(&mut buffer)?;
            ensure!(count > 0, "it ended: {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..count]);
        }
        Ok(())
    }
}

fn read(mut connection: TcpStream) -> Result<Answer> {
    let mut text = String::new();
    connection.read_to_string(&mut text).context("failed to read the answer")?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("cut off: {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {head:?}"))?;
    Ok(Answer { status, body: body.to_owned() })
}
