//! The on-disk records of what the lab started.
//!
//! A process is identified by its id, its start time and its boot, so that a
//! reused id is never taken for ours.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::layout::{Lab, make_dir};
use super::process::Identity;

/// One started component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub name: String,
    #[serde(flatten)]
    pub identity: Identity,
}

fn path(lab: &Lab, name: &str) -> PathBuf {
    lab.state().join(format!("{name}.json"))
}

/// Returns the record of `name`, whether or not its process is alive.
pub(crate) fn load(lab: &Lab, name: &str) -> Result<Option<Record>> {
    let path = path(lab, name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read {}", path.display()));
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .with_context(|| format!("failed to understand {}", path.display()))
}

/// Returns the record of `name` if its process is alive.
pub(crate) fn running(lab: &Lab, name: &str) -> Result<Option<Record>> {
    Ok(load(lab, name)?.filter(|record| record.identity.is_alive()))
}

pub(crate) fn save(lab: &Lab, record: &Record) -> Result<()> {
    make_dir(&lab.state())?;
    lab.write(&path(lab, &record.name), serde_json::to_vec_pretty(record)?)
}

pub(crate) fn forget(lab: &Lab, name: &str) -> Result<()> {
    let path = path(lab, name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(identity: Identity) -> Record {
        Record { name: "etcd".into(), identity }
    }

    #[test]
    fn a_record_survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(Some(dir.path().into())).unwrap();
        let record = record(Identity::of(std::process::id()).unwrap());
        assert_eq!(load(&lab, "etcd").unwrap(), None);
        save(&lab, &record).unwrap();
        assert_eq!(running(&lab, "etcd").unwrap(), Some(record));
        forget(&lab, "etcd").unwrap();
        forget(&lab, "etcd").unwrap();
        assert_eq!(load(&lab, "etcd").unwrap(), None);
    }

    #[test]
    fn a_reused_process_id_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(Some(dir.path().into())).unwrap();
        let mut identity = Identity::of(std::process::id()).unwrap();
        identity.start_time += 1;
        save(&lab, &record(identity)).unwrap();
        assert_eq!(running(&lab, "etcd").unwrap(), None);
        assert!(load(&lab, "etcd").unwrap().is_some());
    }
}
