//! Which container is an attempt's.
//!
//! Labels alone prove nothing: a container of an image that a client committed from a job's
//! container has that job's labels, and any client of the engine can write them. So a container is an
//! attempt's if it has the attempt's name *and* its labels (installation and attempt). One with the
//! labels and another name is the attempt's only if there is proof that it was renamed: this process
//! knows its id, or the engine remembers the renaming. Any other one is a stranger's, which Longshore
//! neither follows nor adopts nor removes.

use crate::backend::Backend;
use crate::client::Answer;
use crate::container::{Container, Found, find_by_name, is_named, read_container};
use crate::location::Location;
use crate::past_events::was_renamed;

/// What has an attempt's labels and another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Renamed {
    Nothing,
    /// The attempt's container.
    Container(Container),
    /// Only containers that are not provably the attempt's.
    Stranger,
}

impl Backend {
    /// Looks for the attempt's container by its name and then, if it was renamed, by its labels.
    pub(crate) async fn find(&self, location: &Location) -> Answer<Found> {
        let by_name = find_by_name(&self.engine, location).await?;
        if matches!(by_name, Found::Container(_)) {
            return Ok(by_name);
        }
        Ok(match self.find_renamed(location).await? {
            Renamed::Container(container) => Found::Container(container),
            Renamed::Nothing | Renamed::Stranger => by_name,
        })
    }

    /// Looks for the attempt's container by its labels.
    pub(crate) async fn find_renamed(&self, location: &Location) -> Answer<Renamed> {
        let mut found = Renamed::Nothing;
        let known = self.informer.snapshot(&location.attempt).and_then(|snapshot| snapshot.id);
        for listed in self.engine.list(location.labels()).await? {
            let Some(id) = listed.id else { continue };
            let inspected = self.engine.inspect(&id).await?;
            let Some(container) =
                inspected.as_ref().and_then(|found| read_container(found, location))
            else {
                continue;
            };
            let is_ours = known.as_ref() == Some(&id)
                || is_named(listed.names.as_deref(), &location.name)
                || was_renamed(&self.engine, &id, &location.name).await?;
            if is_ours {
                return Ok(Renamed::Container(container));
            }
            self.strangers.warn(&id, location.attempt.as_str());
            found = Renamed::Stranger;
        }
        Ok(found)
    }
}
