//! Decides whether the next runner is tried after a refusal.

use longshore_core::ErrorKind;

use crate::FallbackReason;

/// What a refusal leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The runner is passed over.
    PassOver,
    /// The search ends here; the refusal is the outcome.
    Stop,
}

/// Returns what a refusal of `kind` leads to. `fallback_on` lists the reasons for which a job falls
/// back. `last` is true if no runner follows.
pub(crate) fn verdict(kind: ErrorKind, fallback_on: &[FallbackReason], last: bool) -> Verdict {
    match FallbackReason::of(kind) {
        // No runner is left to fall back to, and these reasons are more specific than "no runner
        // took it".
        Some(FallbackReason::ImageUnavailable | FallbackReason::Denied) if last => Verdict::Stop,
        Some(reason) if fallback_on.contains(&reason) => Verdict::PassOver,
        _ => Verdict::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use longshore_core::{ImageReason, RejectReason};

    #[test]
    fn each_kind_of_refusal_falls_back_as_the_table_says() {
        use Verdict::{PassOver, Stop};
        let everything = [
            FallbackReason::Unsupported,
            FallbackReason::Unavailable,
            FallbackReason::Saturated,
            FallbackReason::ImageUnavailable,
            FallbackReason::Denied,
        ];
        // The kind; by default; with every reason named; the same on the last runner.
        for (kind, by_default, if_named, on_the_last) in [
            (ErrorKind::Unsupported, PassOver, PassOver, PassOver),
            (ErrorKind::Unavailable, PassOver, PassOver, PassOver),
            (ErrorKind::Saturated, PassOver, PassOver, PassOver),
            (ErrorKind::ImageUnavailable(ImageReason::NotFound), Stop, PassOver, Stop),
            (ErrorKind::ImageUnavailable(ImageReason::Unreachable), Stop, PassOver, Stop),
            (ErrorKind::Denied, Stop, PassOver, Stop),
            (ErrorKind::Rejected(RejectReason::CommandNotFound), Stop, Stop, Stop),
            (ErrorKind::Rejected(RejectReason::ContainerConfig), Stop, Stop, Stop),
            (ErrorKind::InvalidSpec, Stop, Stop, Stop),
            (ErrorKind::NotFound, Stop, Stop, Stop),
            (ErrorKind::Cancelled, Stop, Stop, Stop),
            (ErrorKind::Internal, Stop, Stop, Stop),
        ] {
            let default = Settings::default().fallback_on;
            assert_eq!(verdict(kind, &default, false), by_default, "{kind:?} by default");
            assert_eq!(verdict(kind, &everything, false), if_named, "{kind:?} if named");
            assert_eq!(verdict(kind, &everything, true), on_the_last, "{kind:?} on the last");
            assert_eq!(verdict(kind, &[], false), Stop, "{kind:?} with no reason named");
        }
    }
}
