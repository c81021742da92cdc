//! What the clients of a service want done, once each.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::bench::Bench;

/// Local jobs wait here until it is opened. Jobs that come later do not wait.
pub(crate) struct Gate {
    path: PathBuf,
    /// While a writer has it open, readers wait.
    closed: File,
}

impl Gate {
    pub(crate) fn new(bench: &Bench) -> Result<Self> {
        let path = bench.folders.root().join("gate");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0)?;
        let closed = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Self { path, closed })
    }

    pub(crate) fn open(self) -> Result<()> {
        // Removed first: who opens it until then still finds the writer, and later ones nothing.
        fs::remove_file(self.path)?;
        drop(self.closed);
        Ok(())
    }
}

/// One thing to be done, once.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) number: usize,
    pub(crate) backend: Backend,
    pub(crate) spec: Value,
}

/// Notes in a file that it has begun, waits at the gate, and exits with the last digit of its number.
const LOCAL: &str = r#"echo "$1" >> "$LEDGER"; echo "job $1"; [ ! -p "$GATE" ] || cat "$GATE" 2> /dev/null; exit $(($1 % 10))"#;
/// The same without files of this machine.
const CONTAINED: &str = r#"echo "job $1"; sleep 3; exit $(($1 % 10))"#;

impl Work {
    /// Returns 200 works for `backends`. Each tenth local one tries the runner that panics first.
    pub(crate) fn two_hundred(bench: &Bench, backends: &[Backend]) -> Result<Vec<Self>> {
        let mut places = Vec::new();
        for (backend, count) in [(Backend::Kubernetes, 10), (Backend::Docker, 60)] {
            let count = if backends.contains(&backend) { count } else { 0 };
            places.extend(std::iter::repeat_n(backend, count));
        }
        places.resize(200, Backend::Process);
        let image = bench.lab.image.as_deref().unwrap_or_default();
        let work = |(number, backend): (usize, Backend)| {
            let number_text = number.to_string();
            let argv = |script| json!(["sh", "-c", script, "sh", number_text]);
            let spec = match backend {
                Backend::Process => json!({
                    "process": {"command": argv(LOCAL)},
                    "env": {
                        "GATE": bench.folders.root().join("gate"),
                        "LEDGER": ledger(bench),
                    },
                    "runners": if number % 10 == 0 { json!(["panics", "process"]) } else { json!(["process"]) },
                }),
                _ => json!({
                    "container": {"image": image, "command": argv(CONTAINED)},
                    "runners": [backend.name()],
                }),
            };
            Self { number, backend, spec }
        };
        Ok(places.into_iter().enumerate().map(work).collect())
    }

    /// Fails unless `job`, with the output `logs`, is the one that did this work.
    pub(crate) fn done_by(&self, job: &Value, logs: &str) -> Result<()> {
        let outcome = json!({"kind": "Exited", "code": self.number % 10});
        let result = &job["result"];
        ensure!(result["outcome"] == outcome, "work {}: {job}", self.number);
        ensure!(result["runner"] == self.backend.name(), "work {}: {job}", self.number);
        ensure!(result["startedAgain"] == json!([]), "work {}: {job}", self.number);
        ensure!(logs == format!("job {}\n", self.number), "work {}: {logs:?}", self.number);
        Ok(())
    }
}

fn ledger(bench: &Bench) -> PathBuf {
    bench.folders.root().join("ledger")
}

/// Returns the numbers of the local works that have begun, once for each time, in order.
pub(crate) fn begun(bench: &Bench) -> Result<Vec<usize>> {
    let path: &Path = &ledger(bench);
    let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    let mut numbers = text.lines().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    numbers.sort_unstable();
    Ok(numbers)
}
