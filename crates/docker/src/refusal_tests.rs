//! Answers of engines: recorded from Docker 20.10.24 and 29.8, unless a line says otherwise.

use ErrorKind::{Denied, InvalidSpec, Rejected, Saturated, Unavailable, Unsupported};
use RejectReason::{CommandNotExecutable, CommandNotFound, ContainerConfig};
use Step::{Create, Start};

use super::*;

fn classified(cases: &[(Step, u16, &str, ErrorKind)]) {
    for (step, status, message, expected) in cases {
        assert_eq!(kind(*step, *status, message), *expected, "{step:?} {status} {message}");
    }
}

const RUNC_20: &str = "failed to create shim task: OCI runtime create failed: runc create failed: \
                       unable to start container process: ";
const RUNC_29: &str = "failed to create task for container: failed to create shim task: OCI \
                       runtime create failed: runc create failed: unable to start container \
                       process: error during container init: ";

fn of_runc(start: &str, cases: &[(u16, &str, ErrorKind)]) {
    for (status, message, expected) in cases {
        classified(&[(Start, *status, &format!("{start}{message}"), *expected)]);
    }
}

#[test]
fn a_mistake_of_the_job_is_not_a_broken_engine() {
    // In the same words on both engines.
    classified(&[
        (Create, 500, "Cannot mkdir: /etc/passwd is not a directory", Rejected(ContainerConfig)),
        (
            Create,
            400,
            "the working directory 'x' is invalid, it needs to be an absolute path",
            Rejected(ContainerConfig),
        ),
        (Create, 400, "Minimum memory limit allowed is 6MB", Rejected(ContainerConfig)),
        (Create, 400, "Duplicate mount point: /x", Rejected(ContainerConfig)),
        (Create, 400, "Invalid signal: SIGNOPE", Rejected(ContainerConfig)),
        // Their source.
        (Create, 400, "no command specified", Rejected(ContainerConfig)),
        (Create, 400, "something else", InvalidSpec),
        (
            Start,
            500,
            "unable to find user nosuch: no matching entries in passwd file",
            Rejected(ContainerConfig),
        ),
        (
            Start,
            500,
            "unable to find group nosuch: no matching entries in group file",
            Rejected(ContainerConfig),
        ),
        (Start, 500, "uids and gids must be in range 0-2147483647", Rejected(ContainerConfig)),
    ]);
    of_runc(
        RUNC_20,
        &[
            (
                400,
                r#"exec: "nope": executable file not found in $PATH: unknown"#,
                Rejected(CommandNotFound),
            ),
            (
                400,
                r#"exec: "/nope": stat /nope: no such file or directory: unknown"#,
                Rejected(CommandNotFound),
            ),
            (400, r#"exec: "/etc": permission denied: unknown"#, Rejected(CommandNotExecutable)),
            (
                400,
                r#"error during container init: error mounting "/etc" to rootfs at "/etc/passwd/x": open o_path procfd: open /var/lib/docker/overlay2/1/merged/etc/passwd/x: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"#,
                Rejected(ContainerConfig),
            ),
            (
                500,
                r#"error during container init: environment variable value can't contain null(\x00): "A=\x00b": unknown"#,
                Rejected(ContainerConfig),
            ),
            (
                500,
                "error during container init: something else: unknown",
                Rejected(ContainerConfig),
            ),
        ],
    );
    of_runc(
        RUNC_29,
        &[
            (400, r#"exec: "nope": executable file not found in $PATH"#, Rejected(CommandNotFound)),
            (
                400,
                r#"exec: "/nope": stat /nope: no such file or directory"#,
                Rejected(CommandNotFound),
            ),
            (
                400,
                r#"exec: "/etc": is a directory: permission denied"#,
                Rejected(CommandNotExecutable),
            ),
            (400, r#"exec: "/etc/passwd": permission denied"#, Rejected(CommandNotExecutable)),
            (
                400,
                r#"error mounting "/etc" to rootfs at "/etc/passwd/x": create mountpoint for /etc/passwd/x mount: lookup mountpoint target: securejoin.OpenInRoot /etc/passwd/x: openat2 /etc/passwd/x: not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"#,
                Rejected(ContainerConfig),
            ),
            (
                500,
                r#"invalid environment variable "A": contains nul byte (\x00)"#,
                Rejected(ContainerConfig),
            ),
        ],
    );
}

#[test]
fn a_mistake_of_this_runners_configuration_passes_the_runner_over() {
    classified(&[
        // 20.10, 29.
        (Start, 404, "network no-such-net not found", Unsupported),
        (
            Start,
            404,
            "failed to set up container networking: network no-such-net not found",
            Unsupported,
        ),
        (Start, 404, "No such container: nosuch", Unsupported),
        (
            Start,
            500,
            "joining network namespace of container: No such container: nosuch",
            Unsupported,
        ),
        (
            Create,
            400,
            r#"error looking up logging plugin nosuch: plugin "nosuch" not found"#,
            Unsupported,
        ),
        (
            Create,
            400,
            r#"invalid mount config for type "bind": bind source path does not exist: /no/such/src"#,
            Unsupported,
        ),
    ]);
}

#[test]
fn a_limit_of_this_engine_passes_the_runner_over() {
    let cpus = "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available";
    classified(&[
        (Create, 400, cpus, Unsupported),
        (Create, 400, &cpus.to_lowercase(), Unsupported),
        (
            Start,
            500,
            r#"could not select device driver "" with capabilities: [[gpu]]"#,
            Unsupported,
        ),
    ]);
    let quota = "error setting cgroup config for procHooks process: failed to write \"100\": write \
                 /sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us: invalid argument";
    of_runc(RUNC_20, &[(500, quota, Unsupported)]);
    of_runc(RUNC_29, &[(500, quota, Unsupported)]);
}

#[test]
fn trouble_of_the_engine_is_not_the_jobs_mistake() {
    // Sources: containerd, Docker's graph drivers, Go's net package.
    classified(&[
        (Create, 500, "error creating overlay mount: permission denied", Unavailable),
        (Create, 500, "mkdir /var/lib/docker/overlay2/1: no space left on device", Unavailable),
        (Create, 503, "service unavailable", Unavailable),
        (Start, 500, "failed to create endpoint x on network bridge: iptables failed", Unavailable),
        (
            Start,
            500,
            r#"failed to start shim: exec: "containerd-shim-runc-v2": executable file not found in $PATH: unknown"#,
            Unavailable,
        ),
        (Start, 500, r#"exec: "docker-init": executable file not found in $PATH"#, Unavailable),
    ]);
    let disk = "error during container init: mkdir /job: no space left on device";
    of_runc(RUNC_20, &[(500, disk, Unavailable)]);
}

#[test]
fn an_engine_that_refuses_us_or_has_no_room_says_so_by_its_status() {
    let plugin = "authorization denied by plugin x: No such image";
    for step in [Create, Start] {
        classified(&[(step, 403, plugin, Denied), (step, 401, "", Denied)]);
        classified(&[(step, 429, "", Saturated)]);
    }
    let image = "No such image: sha256:00";
    let absent = ErrorKind::ImageUnavailable(ImageReason::NotPresent);
    classified(&[(Create, 404, image, absent)]);
}

#[test]
fn only_an_answer_about_this_very_container_says_that_it_is_gone() {
    assert!(is_gone(404, "No such container: 0a1b", "0a1b"));
    assert!(is_gone(409, "container is marked for removal and cannot be started", "0a1b"));
    assert!(!is_gone(404, "network x not found", "0a1b"));
    assert!(!is_gone(404, "No such container: nosuch", "0a1b"));
    assert!(!is_gone(500, "joining network namespace of container: No such container: x", "0a1b"));
}
