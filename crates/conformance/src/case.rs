//! One behaviour to check.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use longshore_core::{Capability, Runner};

use crate::Fixture;
use crate::bench::Bench;
use crate::failure::Checked;

type Body = Box<dyn Fn(Arc<Bench>) -> Pin<Box<dyn Future<Output = Checked> + Send>> + Send + Sync>;

/// One behaviour to check. Its name is the sentence that it checks.
pub(crate) struct Case {
    pub(crate) name: String,
    needs: Vec<Need>,
    /// How long it may take, in units of the suite's patience.
    pub(crate) patience: u32,
    pub(crate) body: Body,
}

/// What a case needs in addition to a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Can(Capability),
    Directory,
    ReadOnlyInput,
    Images,
}

impl Need {
    /// Returns what is missing, in words, or `None` if nothing is.
    fn missing(self, runner: &dyn Runner, fixture: &dyn Fixture) -> Option<String> {
        let lacks = |c: Capability| {
            let remedy = || runner.remedy(c).map_or_else(String::new, |it| format!(" ({it})"));
            let lacks = !runner.capabilities().has(c);
            lacks.then(|| format!("the runner does not support {c}{}", remedy()))
        };
        let gives =
            |given: bool, what: &str| (!given).then(|| format!("the fixture has no {what}"));
        match self {
            Self::Can(capability) => lacks(capability),
            Self::Directory => lacks(Capability::JobDirectory)
                .or_else(|| gives(fixture.job_directory_root().is_some(), "job_directory_root")),
            Self::ReadOnlyInput => (!fixture.input_is_read_only())
                .then(|| "the backend cannot keep a job from writing to input/".to_owned()),
            Self::Images => {
                lacks(Capability::Container).or_else(|| gives(fixture.images().is_some(), "images"))
            }
        }
    }
}

impl Case {
    pub(crate) fn new<F, Fut>(group: &str, name: &str, body: F) -> Self
    where
        F: Fn(Arc<Bench>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Checked> + Send + 'static,
    {
        Self {
            name: format!("{group}::{name}"),
            needs: Vec::new(),
            patience: 4,
            body: Box::new(move |bench| Box::pin(body(bench))),
        }
    }

    pub(crate) fn needs(mut self, needs: &[Need]) -> Self {
        self.needs.extend(needs);
        self
    }

    pub(crate) const fn patience(mut self, patience: u32) -> Self {
        self.patience = patience;
        self
    }

    /// Returns why this case cannot run against `fixture`, or `None` if it can.
    pub(crate) fn unsupported(&self, runner: &dyn Runner, fixture: &dyn Fixture) -> Option<String> {
        self.needs.iter().find_map(|need| need.missing(runner, fixture))
    }
}

/// Lists the cases of a group: the function, named after what it checks; what it needs; and how
/// many times the suite's patience it may take.
macro_rules! cases {
    ($group:literal: $($name:ident $([$($need:expr),*])? $(x $patience:literal)?,)*) => {
        pub(crate) fn cases() -> Vec<$crate::case::Case> {
            vec![$(
                $crate::case::Case::new($group, stringify!($name), $name)
                    $(.needs(&[$($need),*]))?
                    $(.patience($patience))?,
            )*]
        }
    };
}
pub(crate) use cases;
