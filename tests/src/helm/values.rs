//! The values that a release is installed with.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::image;
use crate::bench::Bench;

/// Values of the chart.
#[derive(Clone, Debug)]
pub(crate) struct Values(Value);

impl Values {
    /// Returns values with the lab's image of the command, and a job that runs SCRIPT in the lab's
    /// busybox.
    pub(crate) fn new(bench: &Bench, script: &str) -> Result<Self> {
        let image = image(&bench.lab)?;
        let (repository, tag) = image.rsplit_once(':').context("the image has no tag")?;
        Ok(Self(json!({
            "image": { "repository": repository, "tag": tag },
            "job": {
                "image": bench.image()?,
                "command": ["sh", "-c"],
                "args": [script],
                "gracePeriod": "2s",
            },
        })))
    }

    /// Returns these values with `value` at `path`, a JSON pointer whose parents are created.
    pub(crate) fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let slot =
            path.split('/').skip(1).fold(&mut self.0, |parent, key| &mut parent[key.to_owned()]);
        *slot = value.into();
        self
    }

    /// Returns the text of a values file: JSON is valid YAML.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }
}
