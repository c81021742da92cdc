//! The cells of the pull-policy table, and the expected result of each: one expectation, whichever
//! backend plays it. Pure.

use std::fmt;

use longshore::image::PullPolicy;
use longshore::job::ImageReason;

/// Declares one side of the table: its values in order, and the name of each.
macro_rules! side {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $value:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($(#[$of])* $value,)* }

        impl $name {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$value,)*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$value => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

side! {
    /// The behaviour of the registry.
    Registry {
        Up = "up",
        /// It requires a login, and the job has one.
        PrivateWithLogin = "private-with-login",
        /// It requires a login, and the job has none.
        PrivateWithoutLogin = "private-without-login",
        /// It refuses the login that the job has.
        Answers401 = "401",
        Answers403 = "403",
        /// With `Retry-After`.
        Answers429 = "429",
        Answers500 = "500",
        /// It sends everything, but late and in small pieces.
        Slow = "slow",
        StallsInLayer = "stalls-in-layer",
        TruncatesLayer = "truncates-layer",
        CorruptsLayer = "corrupts-layer",
        Refuses = "refuses-connections",
        /// It accepts connections and sends nothing.
        Silent = "says-nothing",
        NoSuchTag = "no-such-tag",
        NoSuchRepository = "no-such-repository",
    }
}

side! {
    /// The pull policy in force.
    Policy {
        Always = "Always",
        IfNotPresent = "IfNotPresent",
        Never = "Never",
        /// The newest image, else the local copy.
        AlwaysIfNotPresent = "Always,IfNotPresent",
        /// The same, but a registry that gives no answer is asked only once.
        AlwaysNever = "Always,Never",
    }
}

side! {
    /// The backend's local copy of the image.
    Local {
        None = "none",
        /// The image that the registry has.
        Current = "current",
        /// The image that the registry had before the tag was pushed again.
        Stale = "stale",
    }
}

side! {
    /// How the job names the image.
    Reference {
        Tag = "tag",
        Latest = "latest",
        /// Neither tag nor digest.
        Untagged = "untagged",
        Digest = "digest",
        /// The registry by its address; the others name it `localhost:PORT`.
        HostPort = "host:port",
        /// The tag of a multi-architecture index.
        Index = "index",
    }
}

impl Policy {
    /// Returns the policies that are tried in order.
    pub(crate) const fn policies(self) -> &'static [PullPolicy] {
        match self {
            Self::Always => &[PullPolicy::Always],
            Self::IfNotPresent => &[PullPolicy::IfNotPresent],
            Self::Never => &[PullPolicy::Never],
            Self::AlwaysIfNotPresent => &[PullPolicy::Always, PullPolicy::IfNotPresent],
            Self::AlwaysNever => &[PullPolicy::Always, PullPolicy::Never],
        }
    }
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) registry: Registry,
    pub(crate) policy: Policy,
    pub(crate) local: Local,
    pub(crate) reference: Reference,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, policy, local, reference } = self;
        write!(f, "{policy}::{registry}::{local}::{reference}")
    }
}

/// Which of the images that the reference has named over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// The last image that was pushed.
    Newest,
    /// The image before it.
    Old,
}

/// What happened to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Ran {
        version: Version,
        /// The policy of the list under which it ran.
        policy: PullPolicy,
        /// Whether a registry was consulted for it.
        pulled: bool,
        stale: bool,
    },
    Unavailable(ImageReason),
}

/// The expected result of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) end: End,
    /// Whether the registry is asked at all.
    pub(crate) asked: bool,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Unavailable(reason) => format!("{reason:?}"),
            Self::Ran { version, policy, pulled, stale } => {
                let version = match version {
                    Version::Newest => "newest",
                    Version::Old => "old",
                };
                let whence = if *pulled { "pulled" } else { "local" };
                let mark = if *stale { ", marked stale" } else { "" };
                format!("{version}, {whence} by {policy}{mark}")
            }
        };
        f.pad(&text)
    }
}

/// The effective answer of a registry to a backend that asks it.
enum Answer {
    Image,
    /// No answer, or none that counts: the next policy is tried.
    None,
    Definite(ImageReason),
}

impl Cell {
    /// Returns every cell, including those that cannot arise.
    pub(crate) fn every() -> impl Iterator<Item = Self> {
        Registry::ALL.iter().flat_map(|registry| {
            Policy::ALL.iter().flat_map(move |policy| {
                Local::ALL.iter().flat_map(move |local| {
                    Reference::ALL.iter().map(move |reference| Self {
                        registry: *registry,
                        policy: *policy,
                        local: *local,
                        reference: *reference,
                    })
                })
            })
        })
    }

    /// Returns why the cell cannot arise, or `None` if it can.
    pub(crate) const fn excluded(self) -> Option<&'static str> {
        match (self.registry, self.local, self.reference) {
            (_, Local::Stale, Reference::Digest) => {
                Some("a digest names one image forever: no copy of it can be stale")
            }
            (Registry::NoSuchTag, _, Reference::Digest) => Some("a digest names no tag"),
            (Registry::NoSuchTag | Registry::NoSuchRepository, Local::Stale, _) => {
                Some("a registry without the image has none newer than the copy")
            }
            _ => None,
        }
    }

    /// Returns the expected result, on every backend.
    pub(crate) fn expected(self) -> Expected {
        let mut asked = false;
        // The result if the registry gives no answer under any policy: with an answer there would
        // be an image, and without one nothing more is known.
        let mut end = End::Unavailable(ImageReason::Unreachable);
        for policy in self.policy.policies() {
            let asks = match policy {
                PullPolicy::Always => true,
                PullPolicy::IfNotPresent => self.local == Local::None,
                PullPolicy::Never => false,
            };
            if !asks {
                end = self.without_asking(*policy, asked);
                break;
            }
            asked = true;
            end = match self.answer() {
                Answer::Image => {
                    let version = Version::Newest;
                    End::Ran { version, policy: *policy, pulled: true, stale: false }
                }
                Answer::Definite(reason) => End::Unavailable(reason),
                Answer::None => continue,
            };
            break;
        }
        Expected { end, asked }
    }

    /// Returns the result without asking a registry; `stale` is true after one that gave no answer.
    const fn without_asking(self, policy: PullPolicy, stale: bool) -> End {
        let version = match self.local {
            Local::None if stale => return End::Unavailable(ImageReason::Unreachable),
            Local::None => return End::Unavailable(ImageReason::NotPresent),
            Local::Current => Version::Newest,
            Local::Stale => Version::Old,
        };
        End::Ran { version, policy, pulled: false, stale }
    }

    fn answer(self) -> Answer {
        // A backend that has the image asks only for its manifest.
        let whole = self.local == Local::Current;
        match self.registry {
            Registry::Up | Registry::Slow | Registry::PrivateWithLogin => Answer::Image,
            Registry::StallsInLayer | Registry::TruncatesLayer | Registry::CorruptsLayer
                if whole =>
            {
                Answer::Image
            }
            Registry::CorruptsLayer => Answer::Definite(ImageReason::Invalid),
            Registry::PrivateWithoutLogin | Registry::Answers401 | Registry::Answers403 => {
                Answer::Definite(ImageReason::Denied)
            }
            Registry::NoSuchTag | Registry::NoSuchRepository => {
                Answer::Definite(ImageReason::NotFound)
            }
            Registry::Answers429
            | Registry::Answers500
            | Registry::StallsInLayer
            | Registry::TruncatesLayer
            | Registry::Refuses
            | Registry::Silent => Answer::None,
        }
    }

    /// Returns whether a registry is asked and gives no answer.
    pub(crate) fn is_unanswered(self) -> bool {
        self.expected().asked && matches!(self.answer(), Answer::None)
    }

    /// Returns whether a runtime hangs in it until it gives up the pull.
    pub(crate) fn hangs(self) -> bool {
        self.is_unanswered() && matches!(self.registry, Registry::Silent | Registry::StallsInLayer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn told(registry: Registry, local: Local, policy: Policy) -> String {
        Cell { registry, policy, local, reference: Reference::Tag }.expected().end.to_string()
    }

    /// Checks the table of the documents: one row for each state, one column for each policy.
    #[test]
    fn the_cells_of_the_documented_table_are_what_it_says() {
        use Local::{Current, None, Stale};
        use Registry::{Answers401, Answers403, NoSuchTag, Refuses, Up};
        let pulled = |policy| format!("newest, pulled by {policy}");
        let old = |policy| format!("old, local by {policy}");
        for (registry, local, always, if_not_present, never, list) in [
            (
                Up,
                None,
                pulled("Always"),
                pulled("IfNotPresent"),
                "NotPresent".into(),
                pulled("Always"),
            ),
            (Up, Stale, pulled("Always"), old("IfNotPresent"), old("Never"), pulled("Always")),
            (
                Refuses,
                Stale,
                "Unreachable".into(),
                old("IfNotPresent"),
                old("Never"),
                old("IfNotPresent, marked stale"),
            ),
            (
                Refuses,
                None,
                "Unreachable".into(),
                "Unreachable".into(),
                "NotPresent".into(),
                "Unreachable".into(),
            ),
            (
                Answers401,
                Stale,
                "Denied".into(),
                old("IfNotPresent"),
                old("Never"),
                "Denied".into(),
            ),
            (
                Answers403,
                Stale,
                "Denied".into(),
                old("IfNotPresent"),
                old("Never"),
                "Denied".into(),
            ),
            (
                NoSuchTag,
                Current,
                "NotFound".into(),
                "newest, local by IfNotPresent".into(),
                "newest, local by Never".into(),
                "NotFound".into(),
            ),
        ] {
            assert_eq!(told(registry, local, Policy::Always), always, "{registry} {local}");
            assert_eq!(told(registry, local, Policy::IfNotPresent), if_not_present, "{registry}");
            assert_eq!(told(registry, local, Policy::Never), never, "{registry} {local}");
            assert_eq!(told(registry, local, Policy::AlwaysIfNotPresent), list, "{registry}");
        }
    }

    #[test]
    fn a_layer_that_does_not_come_matters_only_to_who_lacks_it() {
        for registry in [Registry::StallsInLayer, Registry::TruncatesLayer, Registry::CorruptsLayer]
        {
            let told = told(registry, Local::Current, Policy::Always);
            assert_eq!(told, "newest, pulled by Always", "{registry}");
        }
        assert_eq!(told(Registry::CorruptsLayer, Local::Stale, Policy::AlwaysNever), "Invalid");
        let told = told(Registry::TruncatesLayer, Local::Stale, Policy::AlwaysNever);
        assert_eq!(told, "old, local by Never, marked stale");
    }

    #[test]
    fn a_list_that_ends_in_never_has_no_image_only_because_the_registry_gave_no_answer() {
        assert_eq!(told(Registry::Refuses, Local::None, Policy::AlwaysNever), "Unreachable");
        assert_eq!(told(Registry::Refuses, Local::None, Policy::Never), "NotPresent");
    }

    #[test]
    fn never_asks_nobody_and_always_asks_whoever_it_is() {
        for cell in Cell::every() {
            match cell.policy {
                Policy::Never => assert!(!cell.expected().asked, "{cell}"),
                Policy::IfNotPresent => {}
                _ => assert!(cell.expected().asked, "{cell}"),
            }
        }
    }

    #[test]
    fn the_cells_that_cannot_arise_are_counted_by_their_reasons() {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in Cell::every().filter_map(Cell::excluded) {
            *reasons.entry(reason).or_default() += 1;
        }
        assert_eq!(Cell::every().count(), 1350);
        let counted: Vec<_> = reasons.into_iter().collect();
        assert_eq!(
            counted,
            [
                ("a digest names no tag", 10),
                ("a digest names one image forever: no copy of it can be stale", 75),
                ("a registry without the image has none newer than the copy", 50),
            ]
        );
    }
}
