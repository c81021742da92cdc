//! Tests the command's output about images, pull policies and logins, without any backend.

use std::fs;
use std::path::Path;

use crate::home::{CONFIG, Home};

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_plan_tells_the_pull_policy_the_key_that_set_it_and_what_set_that_key() {
    let home = Home::new();
    let plan = ["plan", "--image", "localhost:5000/x:1"];
    home.run(&plan)
        .exits(0)
        .says(&["pull policy: IfNotPresent (job.imagePullPolicy, the default)"]);
    let shared = [("JOB_IMAGEPULLPOLICY", "always")];
    home.run_with(&shared, &plan)
        .exits(0)
        .says(&["pull policy: Always (job.imagePullPolicy, from JOB_IMAGEPULLPOLICY)"]);
    let own = [("JOB_DOCKER_IMAGEPULLPOLICY", "Always,if-not-present"), shared[0]];
    home.run_with(&own, &plan)
        .exits(0)
        .says(&["pull policy: Always,IfNotPresent (job.docker.imagePullPolicy, from \
         JOB_DOCKER_IMAGEPULLPOLICY)"]);
    let rule = "\n[[job.imagePullPolicyRules]]\nimage = 'localhost:5000/*'\n\
                imagePullPolicy = 'never'\n";
    let file = home.write("longshore.toml", &format!("{CONFIG}{rule}"));
    home.run_with(&own, &plan).exits(0).says(&[&format!(
        "pull policy: Never (job.imagePullPolicyRules[0] for localhost:5000/*, from {}:",
        shown(&file)
    )]);
    let job = home.write("job.toml", "imagePullPolicy = 'ALWAYS'\ncontainer.image = 'x'\n");
    let job = shown(&job);
    home.run(&["plan", &job])
        .exits(0)
        .says(&[&format!("pull policy: Always (imagePullPolicy, from {job})")]);
    home.run(&["plan", &job, "--pull-policy", "Always, never"])
        .exits(0)
        .says(&["pull policy: Always,Never (--pull-policy)"]);
    let set = ["--set", "job.docker.imagePullPolicy=never"];
    home.run(&["plan", "--image", "x", set[0], set[1]])
        .exits(0)
        .says(&["pull policy: Never (job.docker.imagePullPolicy, from --set)"]);
    home.write("application.conf", "docker.autoUpdate = true\njob.runners = [docker]\n");
    let cortex = shown(&home.path("application.conf"));
    home.run(&["plan", "--image", "x", "--config", &cortex])
        .exits(0)
        .says(&[&format!("pull policy: Always (docker.autoUpdate, from {cortex}:1)")]);
}

#[test]
fn a_policy_that_is_none_is_refused_with_its_place_and_the_values_allowed() {
    let home = Home::new();
    let allowed = "`sometimes` is not a pull policy: use Always, IfNotPresent or Never";
    let plan = ["plan", "--image", "x"];
    home.run(&["plan", "--image", "x", "--pull-policy", "sometimes"])
        .exits(2)
        .says(&["--pull-policy", allowed]);
    home.run(&["plan", "--image", "x", "--pull-policy", "never,always"])
        .exits(2)
        .says(&["--pull-policy", "Always follows Never"]);
    let variable = [("JOB_KUBERNETES_IMAGEPULLPOLICY", "sometimes")];
    home.run_with(&variable, &plan)
        .exits(125)
        .says(&["JOB_KUBERNETES_IMAGEPULLPOLICY: job.kubernetes.imagePullPolicy: ", allowed]);
    for (name, text) in [
        ("job.toml", "imagePullPolicy = 'sometimes'\ncontainer.image = 'x'\n"),
        ("job.yaml", "imagePullPolicy: sometimes\ncontainer: {image: x}\n"),
        ("job.json", "{\"imagePullPolicy\": \"sometimes\", \"container\": {\"image\": \"x\"}}\n"),
    ] {
        let job = shown(&home.write(name, text));
        home.run(&["plan", &job])
            .exits(125)
            .says(&[&format!("{job}:1: imagePullPolicy: {allowed}")]);
    }
    let empty = shown(&home.write("job.toml", "imagePullPolicy = []\ncontainer.image = 'x'\n"));
    home.run(&["plan", &empty]).exits(125).says(&["the list of pull policies is empty"]);
}

#[test]
fn a_job_may_name_only_the_policies_that_are_allowed() {
    let home = Home::new();
    let allowed = [("JOB_ALLOWEDPULLPOLICIES", "Always,IfNotPresent")];
    for command in ["plan", "run"] {
        let named = [command, "--image", "x", "--pull-policy", "Always,never"];
        home.run_with(&allowed, &named).exits(125).says(&[
            "imagePullPolicy Never is not among job.allowedPullPolicies (allowed: Always, \
             IfNotPresent)",
        ]);
    }
    let none = [("JOB_ALLOWEDPULLPOLICIES", "[]")];
    home.run_with(&none, &["plan", "--image", "x", "--pull-policy", "Always"])
        .exits(125)
        .says(&["(allowed: none)"]);
    home.run_with(&none, &["plan", "--image", "x"]).exits(0);
}

#[test]
fn a_prefix_is_put_before_names_without_a_registry() {
    let home = Home::new();
    let prefix = [("JOB_IMAGEREGISTRYPREFIX", "harbor.example.org/p/")];
    for (image, pulled) in [
        ("team/x:1", "harbor.example.org/p/team/x:1"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
    ] {
        let ran = home.run_with(&prefix, &["plan", "--image", image]).exits(0);
        ran.says(&[&format!("# image: {pulled}\n"), &format!("\"Image\": \"{pulled}\"")]);
    }
    let bad = [("JOB_IMAGEREGISTRYPREFIX", "harbor")];
    home.run_with(&bad, &["plan", "--image", "x"])
        .exits(125)
        .says(&["JOB_IMAGEREGISTRYPREFIX: job.imageRegistryPrefix: `harbor` is not a registry"]);
}

/// Writes a configuration with a login for localhost:5001 whose password is in `password`.
fn with_login(home: &Home) {
    let login = "\n[[job.registries]]\nserver = 'localhost:5001'\nusername = 'me'\npasswordFile = ";
    let password = shown(&home.path("password"));
    home.write("longshore.toml", &format!("{CONFIG}{login}'{password}'\n"));
}

#[test]
fn the_login_is_told_by_its_origin_and_never_by_its_secret() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    with_login(&home);
    let password = home.write("password", "hunter2\n");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("a mode");
    let auths = r#"{"auths": {"localhost:5002": {"auth": "bWU6aHVudGVyMg=="}}}"#;
    home.write(".docker/config.json", auths);
    for (image, origin) in [
        ("localhost:5000/x", "none, anonymous"),
        ("localhost:5001/x", "job.registries[0]"),
        ("localhost:5002/x", ".docker/config.json"),
    ] {
        for command in [&["plan"][..], &["doctor"]] {
            let ran = home.run(&[command, &["--image", image]].concat());
            let host = image.trim_end_matches("/x");
            let line = ran.stdout.lines().find(|line| line.contains(&format!("login for {host}:")));
            assert!(line.is_some_and(|line| line.contains(origin)), "{line:?} {}", ran.stderr);
            ran.never_says("hunter2");
            ran.never_says("bWU6aHVudGVyMg==");
        }
    }
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).expect("a mode");
    home.run(&["plan", "--image", "localhost:5001/x"]).exits(0).says(&["# warning: "]);
}

#[test]
fn a_login_that_cannot_be_had_is_said_by_plan_and_ends_a_run_before_any_runner_is_asked() {
    let home = Home::new();
    with_login(&home);
    let password = shown(&home.path("password"));
    let image = ["--image", "localhost:5001/x"];
    home.run(&["plan", image[0], image[1]]).exits(1).says(&["would be refused", &password]);
    let ran = home.run(&["run", image[0], image[1]]).exits(125);
    ran.says(&["was not run", &password]);
    ran.never_says("/nowhere/docker.sock");
    home.run(&["plan", "--image", "localhost:5000/x"]).exits(0);
}

#[test]
fn a_tag_that_may_be_pushed_again_gets_a_hint() {
    let home = Home::new();
    let hint = "localhost:5000/x:1 can be pushed again, and with IfNotPresent a node keeps its old";
    home.run(&["plan", "--image", "localhost:5000/x:1"])
        .exits(0)
        .says(&[hint, "not known whether it is present"]);
    home.run(&["plan", "--image", "localhost:5000/x:1", "--pull-policy", "always"])
        .exits(0)
        .never_says("can be pushed again");
    let digest = format!("localhost:5000/x@sha256:{}", "a".repeat(64));
    home.run(&["plan", "--image", &digest]).exits(0).never_says("can be pushed again");
}

#[test]
fn cortexs_password_is_honoured_and_never_shown() {
    let home = Home::new();
    let text = "job.runners = [docker]\ndocker { host = \"unix:///nowhere/docker.sock\"\n\
                registry { url = \"https://localhost:5001/v1/\", user = me, password = hunter2 } }\n";
    let file = shown(&home.write("application.conf", text));
    let config = ["--config", &file];
    let ran = home.run(&["config", "show", config[0], config[1]]).exits(0);
    ran.says(&["docker.registry.password = \"***\""]);
    ran.never_says("hunter2");
    let plan =
        ["plan", "--verbose", "--verbose", "--image", "localhost:5001/x", config[0], config[1]];
    let ran = home.run(&plan).exits(0);
    ran.says(&["login for localhost:5001: docker.registry"]);
    ran.never_says("hunter2");
}
