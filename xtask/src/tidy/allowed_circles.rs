//! The circles of files that may stay.

/// The files of each circle, and the reason for it. Do not add to this list what a third file for
/// the common part would solve.
pub(crate) const ALLOWED: &[(&[&str], &str)] = &[
    (
        &["crates/config/src/format.rs", "crates/config/src/format/hocon.rs"],
        "A format's reader gets the context that is common to all formats.",
    ),
    (
        &["crates/conformance/src/bench.rs", "crates/conformance/src/pace.rs"],
        "A bench measures the pace of its fixture with a bench of its own.",
    ),
    (
        &[
            "crates/conformance/src/simulated/meddling.rs",
            "crates/conformance/src/simulated/script.rs",
        ],
        "A script contains the meddling, which is drawn for one script.",
    ),
    (
        &[
            "crates/conformance/src/simulated/runner.rs",
            "crates/conformance/src/simulated/streams.rs",
        ],
        "The streams of the simulated runner are a part of it, in a file of their own.",
    ),
    (
        &["crates/core/src/error.rs", "crates/core/src/outcome.rs"],
        "An error contains the reasons that an outcome contains, and a refusal becomes an outcome.",
    ),
    (
        &["crates/dispatch/src/builder.rs", "crates/dispatch/src/dispatcher.rs"],
        "A builder and what it builds.",
    ),
    (
        &["crates/dispatch/src/policy.rs", "crates/dispatch/src/settings.rs"],
        "The settings check their rules as the policy reads them.",
    ),
    (
        &["crates/hocon/src/include.rs", "crates/hocon/src/parser.rs"],
        "A document includes documents, which the same parser reads.",
    ),
    (
        &["crates/journal/src/claim.rs", "crates/journal/src/journal.rs"],
        "The journal gives claims, which write to it.",
    ),
    (
        &[
            "lab/src/api_service.rs",
            "lab/src/cgroup.rs",
            "lab/src/cluster.rs",
            "lab/src/component.rs",
            "lab/src/containerd.rs",
            "lab/src/control_plane.rs",
            "lab/src/docker.rs",
            "lab/src/etcd.rs",
            "lab/src/images.rs",
            "lab/src/kubelet.rs",
            "lab/src/registry.rs",
            "lab/src/toxiproxy.rs",
        ],
        "The list of components names all components, each of which has the type of the list.",
    ),
    (
        &["lab/src/down.rs", "lab/src/up.rs"],
        "`up` takes down what it could not bring up, and `down` waits for an `up` that runs.",
    ),
    (
        &["tests/src/accidents/situation.rs", "tests/src/accidents/stage.rs"],
        "A stage is set up for the site of a situation.",
    ),
    (
        &["tests/src/bench.rs", "tests/src/leftovers.rs"],
        "A bench checks what is left at its end, on the runtime of the benches.",
    ),
    (
        &["tests/src/cases/table.rs", "tests/src/suite.rs"],
        "A case runs in a suite, and a suite runs the table of cases.",
    ),
    (
        &["tests/src/pull/faulty.rs", "tests/src/pull/spoilt.rs"],
        "The faulty registry spoils its own answers.",
    ),
    (
        &[
            "xtask/src/cli.rs",
            "xtask/src/test/early.rs",
            "xtask/src/test/run.rs",
            "xtask/src/tidy/readme.rs",
            "xtask/src/tidy/rules.rs",
        ],
        "A rule parses the documented commands as the command line does.",
    ),
];
