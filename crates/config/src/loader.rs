//! Loads and merges the layers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::check::check;
use crate::error::ordered;
use crate::format::Context;
use crate::json_schema::schema_of;
use crate::keys::{PREFIX, find, key_of, warning};
use crate::node::{Node, dotted};
use crate::schema::{Part, Schema};
use crate::settings::settings;
use crate::{ConfigError, Format, Origin, Problem, Setting, Warning, coerce, file, paths, typed};

/// Loads a configuration of type `T`: defaults < files < environment < flags.
///
/// The JSON schema of `T` provides the known keys, their types and which of them are secret
/// (`writeOnly: true`). `T` fills in what is missing with its defaults (`#[serde(default)]`).
///
/// A key that the schema marks as a path (`x-path: true`) always has an absolute path: a relative one
/// in a file is relative to the folder of that file, any other to the working directory.
pub struct Loader<T> {
    sources: Vec<Source>,
    environment: BTreeMap<String, String>,
    set: Vec<(String, String)>,
    schema: Option<&'static Schema>,
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
    /// Warnings about what was accepted, but probably not intended.
    pub warnings: Vec<Warning>,
    sources: Sources,
}

/// What the settings of a configuration came from.
#[derive(Clone)]
struct Sources {
    schema: &'static Schema,
    layers: Vec<Node>,
}

impl fmt::Debug for Sources {
    /// Shows nothing: the layers may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl<T: Serialize> Loaded<T> {
    /// Returns each key, its value in force with secrets masked, and its origin, sorted by key.
    ///
    /// # Errors
    /// If the value cannot be serialised.
    pub fn settings(&self) -> Result<Vec<Setting>, ConfigError> {
        let Sources { schema, layers } = &self.sources;
        Ok(settings(&to_json(&self.value)?, schema.root(), layers))
    }
}

impl<T> Default for Loader<T> {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            environment: BTreeMap::new(),
            set: Vec::new(),
            schema: None,
            settings: PhantomData,
        }
    }
}

impl<T: DeserializeOwned + JsonSchema + 'static> Loader<T> {
    /// Creates a loader of the defaults only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `path` (at most 1 MiB), in the format of its extension.
    ///
    /// If called more than once, a later file wins over an earlier one.
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

    /// Reads environment variables, such as `JOB_IMAGEPULLPOLICY` for `job.imagePullPolicy`.
    ///
    /// `LONGSHORE_JOB_IMAGEPULLPOLICY` means the same and takes precedence.
    ///
    /// In HOCON, they are also the fallback for substitutions that find nothing in the file. All
    /// other variables are ignored. An empty variable counts as unset.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables.into_iter().filter(|(_, value)| !value.is_empty()));
        self
    }

    /// Sets one key, as `--set KEY=VALUE` does.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.push((key.into(), value.into()));
        self
    }

    /// Reads the keys from `schema`, which [`loader_schema_source`](crate::loader_schema_source) has written
    /// for `T`. Without it, the first [`load`](Self::load) of a process generates the schema, which takes
    /// longer than all else that it does.
    #[must_use]
    pub const fn schema(mut self, schema: &'static Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Loads the configuration.
    ///
    /// # Errors
    /// All problems of the configuration, each with its place and key.
    pub fn load(self) -> Result<Loaded<T>, ConfigError> {
        let schema = self.schema.unwrap_or_else(schema_of::<T>);
        let part = schema.root();
        let mut layers =
            Layers { part, nodes: Vec::new(), problems: Vec::new(), warnings: Vec::new() };
        for source in &self.sources {
            layers.source(source, &self.environment);
        }
        layers.environment(&self.environment);
        layers.flags(&self.set);
        let Layers { mut nodes, problems, warnings, .. } = layers;
        let value: T = typed::extract(&mut nodes, part, problems).map_err(ordered)?;
        Ok(Loaded { value, warnings, sources: Sources { schema, layers: nodes } })
    }
}

fn to_json<T: Serialize>(settings: &T) -> Result<Json, Problem> {
    serde_json::to_value(settings)
        .map_err(|e| Problem::new(format!("failed to serialise the configuration: {e}")))
}

/// The layers read so far. Later layers override earlier ones.
struct Layers {
    part: Part,
    nodes: Vec<Node>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Layers {
    fn source(&mut self, source: &Source, environment: &BTreeMap<String, String>) {
        let (path, format, text) = match source {
            Source::Text { name, format, text } => (Path::new(name), *format, Cow::from(text)),
            Source::File(path) => match open(path) {
                Ok((format, text)) => (path.as_path(), format, Cow::from(text)),
                Err(problem) => return self.problems.push(problem),
            },
        };
        let part = self.part;
        let wanted = |key: &str| part.child(key).is_some();
        match format.parse(&text, path, &Context { environment, wanted: &wanted }) {
            Ok((mut node, warnings)) => {
                if format == Format::Hocon {
                    coerce::hocon(&mut node, part);
                }
                self.warnings.extend(warnings);
                self.push(node);
            }
            Err(problems) => self.problems.extend(problems),
        }
    }

    fn push(&mut self, mut node: Node) {
        self.problems.extend(check(&mut node, self.part));
        self.problems.extend(paths::anchor(&mut node, self.part));
        self.nodes.push(node);
    }

    fn environment(&mut self, environment: &BTreeMap<String, String>) {
        let mut layer = Node::empty_table(Origin::Environment("the environment".to_owned()));
        for (name, text) in environment {
            let origin = || Origin::Environment(name.clone());
            match key_of(name, self.part) {
                Ok(Some(_)) if environment.contains_key(&format!("{PREFIX}{name}")) => {}
                Ok(Some(path)) => self.put(&mut layer, &dotted(&path), text, origin()),
                Ok(None) => {
                    let message = warning(name, self.part);
                    self.warnings.extend(message.map(|message| Warning { message }));
                }
                Err(message) => self.problems.push(Problem::new(message).at(origin())),
            }
        }
        self.push(layer);
    }

    fn flags(&mut self, set: &[(String, String)]) {
        let mut layer = Node::empty_table(Origin::Flag);
        for (key, text) in set {
            self.put(&mut layer, key, text, Origin::Flag);
        }
        self.push(layer);
    }

    /// Parses `text` as the value of `key`, and puts it into `layer`.
    fn put(&mut self, layer: &mut Node, key: &str, text: &str, origin: Origin) {
        let node = find(key, self.part).and_then(|(path, part)| {
            let node = coerce::text(text, part, &origin)?;
            Ok((path, node))
        });
        match node {
            Ok((path, node)) => layer.insert(&path, node),
            Err(message) => {
                let problem = Problem::new(message).at(origin);
                self.problems.push(if key.is_empty() { problem } else { problem.key(key) });
            }
        }
    }
}

fn open(path: &Path) -> Result<(Format, String), Problem> {
    let format = Format::of(path)?;
    Ok((format, file::read(path)?))
}
