//! The state that the parts of the runner share.

use std::sync::Arc;

use longshore_core::{Error, RunnerName};

use crate::attached::Attachments;
use crate::client::Engine;
use crate::command::Commands;
use crate::container::{Container, Found};
use crate::fault::Fault;
use crate::informer::Informer;
use crate::location::Location;
use crate::marks::read_mark;
use crate::pull::Pulls;
use crate::strangers::Strangers;

/// One engine, and what this process knows about it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) name: RunnerName,
    pub(crate) engine: Arc<Engine>,
    pub(crate) informer: Informer,
    pub(crate) pulls: Arc<Pulls>,
    pub(crate) commands: Commands,
    pub(crate) strangers: Strangers,
    pub(crate) attachments: Attachments,
}

impl Backend {
    pub(crate) fn new(name: RunnerName, engine: Engine) -> Self {
        let engine = Arc::new(engine);
        Self {
            name,
            informer: Informer::new(Arc::clone(&engine)),
            engine,
            pulls: Arc::default(),
            commands: Commands::default(),
            strangers: Strangers::default(),
            attachments: Attachments::default(),
        }
    }

    /// Converts `fault` to an error that names the container.
    pub(crate) fn error(&self, fault: Fault, what: &'static str, location: &Location) -> Error {
        fault.into_error(what).with("container", &location.name)
    }

    /// Looks for an attempt's container and for the mark on its end, and records both in the
    /// informer.
    pub(crate) async fn inspect(&self, location: &Location) -> Result<Option<Container>, Fault> {
        let found = self.find(location).await?;
        let mark = read_mark(&self.engine, location, &location.end_name()).await?;
        let mark = mark.map(|found| found.mark);
        let container = match found {
            Found::Container(container) => Some(container),
            Found::Nothing | Found::Fenced | Found::Taken => None,
        };
        self.informer.record_inspection(&location.attempt, container.as_ref(), mark);
        Ok(container)
    }
}
