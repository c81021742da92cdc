//! Messages of runtimes: recorded from Docker 20.10.24 with runc 1.1, or taken from the sources
//! that [`start_error`] names.

use super::*;

fn classified(cases: &[(&str, StartError)]) {
    for (message, expected) in cases {
        assert_eq!(start_error(message), *expected, "{message}");
    }
}

const RUNC: &str = "failed to create shim task: OCI runtime create failed: runc create failed: \
                    unable to start container process: ";

fn of_runc(cases: &[(&str, StartError)]) {
    for (message, expected) in cases {
        assert_eq!(start_error(&format!("{RUNC}{message}: unknown")), *expected, "{message}");
    }
}

#[test]
fn a_command_that_is_missing_or_not_executable_is_classified() {
    of_runc(&[
        (r#"exec: "nope": executable file not found in $PATH"#, Job(CommandNotFound)),
        (r#"exec: "": executable file not found in $PATH"#, Job(CommandNotFound)),
        (r#"exec: "/nope": stat /nope: no such file or directory"#, Job(CommandNotFound)),
        (r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory"#, Job(CommandNotFound)),
        (r#"exec: "/etc": permission denied"#, Job(CommandNotExecutable)),
        (r#"exec: "/tmp": is a directory"#, Job(CommandNotExecutable)),
        (r#"exec: "runc": executable file not found in $PATH"#, Job(CommandNotFound)),
    ]);
    classified(&[
        ("exec /x: exec format error", Job(CommandNotExecutable)),
        ("[FATAL tini (7)] exec nope failed: No such file or directory", Job(CommandNotFound)),
        ("[FATAL tini (7)] exec /etc failed: Permission denied", Job(CommandNotExecutable)),
        // runc before 1.1.
        (
            r#"OCI runtime create failed: container_linux.go:349: starting container process caused "exec: \"nope\": executable file not found in $PATH": unknown"#,
            Job(CommandNotFound),
        ),
        (
            r#"standard_init_linux.go:211: exec user process caused "no such file or directory""#,
            Job(CommandNotFound),
        ),
        // crun.
        (
            "executable file `nope` not found in $PATH: No such file or directory",
            Job(CommandNotFound),
        ),
        ("exec container process `/x`: Exec format error", Job(CommandNotExecutable)),
        ("exec container process `/x`: No such file or directory", Job(CommandNotFound)),
    ]);
}

#[test]
fn a_wrong_container_configuration_is_the_jobs_mistake() {
    of_runc(&[
        (
            r#"error during container init: error mounting "/etc" to rootfs at "/etc/passwd/x": open o_path procfd: open /var/lib/docker/overlay2/1/merged/etc/passwd/x: not a directory"#,
            Job(ContainerConfig),
        ),
        (r#"error mounting "/a" to rootfs: no such file or directory"#, Job(ContainerConfig)),
        (
            r#"chdir to cwd ("/x") set in config.json failed: permission denied"#,
            Job(ContainerConfig),
        ),
        ("error during container init: mkdir /etc/passwd: not a directory", Job(ContainerConfig)),
        ("container init was OOM-killed (memory limit too low?)", Job(ContainerConfig)),
        (
            r#"error during container init: error setting cgroup config for procHooks process: failed to write "65536": write /sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes: device or resource busy"#,
            Job(ContainerConfig),
        ),
        (
            r#"error during container init: environment variable value can't contain null(\x00): "A=\x00b""#,
            Job(ContainerConfig),
        ),
    ]);
    classified(&[
        ("Cannot mkdir: /etc/passwd is not a directory", Job(ContainerConfig)),
        (
            "the working directory 'x' is invalid, it needs to be an absolute path",
            Job(ContainerConfig),
        ),
        ("Minimum memory limit allowed is 6MB", Job(ContainerConfig)),
        ("unable to find user nosuch: no matching entries in passwd file", Job(ContainerConfig)),
        ("unable to find group nosuch: no matching entries in group file", Job(ContainerConfig)),
        ("uids and gids must be in range 0-2147483647", Job(ContainerConfig)),
        ("mount callback failed on /tmp/1: no users found", Job(ContainerConfig)),
        ("Duplicate mount point: /x", Job(ContainerConfig)),
        ("no command specified", Job(ContainerConfig)),
    ]);
}

#[test]
fn a_limit_of_the_host_is_not_the_jobs_mistake() {
    of_runc(&[(
        r#"error during container init: error setting cgroup config for procHooks process: failed to write "100": write /sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us: invalid argument"#,
        Host,
    )]);
    classified(&[("Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", Host)]);
}

#[test]
fn trouble_of_the_runtime_is_not_the_jobs_mistake() {
    of_runc(&[
        (
            r#"error during container init: error mounting "proc" to rootfs: no space left on device"#,
            Runtime,
        ),
        (r#"exec: "/bin/sh": stat /bin/sh: input/output error"#, Runtime),
    ]);
    classified(&[
        (
            r#"failed to start shim: exec: "containerd-shim-runc-v2": executable file not found in $PATH: unknown"#,
            Runtime,
        ),
        (r#"exec: "docker-init": executable file not found in $PATH"#, Runtime),
        (
            "OCI runtime create failed: unable to retrieve OCI runtime error (open /run/1/log.json: no such file or directory): fork/exec /usr/bin/runc: no such file or directory: unknown",
            Runtime,
        ),
        (
            r#"connection error: desc = "transport: error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused": unavailable"#,
            Runtime,
        ),
        ("context deadline exceeded", Runtime),
        (r#"failed to reserve container name "x": name "x" is reserved for "1""#, Runtime),
    ]);
}

#[test]
fn a_quoted_name_of_the_job_does_not_count() {
    of_runc(&[(
        r#"exec: "no space left on device": executable file not found in $PATH"#,
        Job(CommandNotFound),
    )]);
}

#[test]
fn a_message_that_proves_nothing_is_unknown() {
    classified(&[
        ("something else", StartError::Unknown),
        ("", StartError::Unknown),
        ("error creating overlay mount to /var/lib/docker: permission denied", StartError::Unknown),
        ("open /var/lib/docker/x: no such file or directory", StartError::Unknown),
    ]);
}
