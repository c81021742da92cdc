//! Tests which configuration file the command reads, and how.

use std::fs;
use std::os::unix::fs::symlink;

use crate::home::{Home, Ran};

/// Runs `config show` with the variable `LONGSHORE_CONFIG` as given.
fn show(home: &Home, variable: Option<&str>) -> Ran {
    let mut command = home.command();
    command.env_remove("LONGSHORE_CONFIG").args(["config", "show"]);
    command.envs(variable.map(|value| ("LONGSHORE_CONFIG", value)));
    Ran::of(&mut command)
}

#[test]
fn an_empty_variable_for_the_configuration_file_counts_as_unset() {
    let home = Home::new();
    home.write(".config/longshore/longshore.toml", "job.timeout = '7s'");
    for variable in [None, Some("")] {
        show(&home, variable).exits(0).says(&["\"7s\"", "longshore.toml:1"]);
    }
    show(&home, Some("other.toml")).exits(125).says(&["other.toml: there is no such file"]);
}

#[test]
fn a_configuration_file_in_another_format_is_not_ignored() {
    let home = Home::new();
    for (name, text) in [
        ("longshore.yaml", "job: {timeout: 7s}"),
        ("longshore.yml", "job: {timeout: 7s}"),
        ("longshore.json", "{\"job\": {\"timeout\": \"7s\"}}"),
        ("longshore.conf", "job.timeout = 7s"),
    ] {
        let file = home.write(&format!(".config/longshore/{name}"), text);
        show(&home, None).exits(0).says(&["\"7s\"", &format!("{name}:1")]);
        fs::remove_file(file).expect("the file is there");
    }
    home.write(".config/longshore/longshore.toml", "");
    home.write(".config/longshore/longshore.yaml", "");
    show(&home, None).exits(125).says(&[
        "two configuration files",
        "longshore.toml",
        "longshore.yaml",
        "--config",
    ]);
}

#[test]
fn a_dangling_link_to_a_configuration_file_is_not_ignored() {
    let home = Home::new();
    let link = home.write(".config/longshore/longshore.toml", "");
    fs::remove_file(&link).expect("the file is there");
    symlink("/nowhere/longshore.toml", &link).expect("a link");
    show(&home, None).exits(125).says(&["longshore.toml: there is no such file"]);
}

#[test]
fn a_relative_state_directory_follows_the_configuration_file() {
    let home = Home::new();
    home.write("conf/longshore.toml", "[job]\nrunners = ['process']\nstateDirectory = 'state'\n");
    home.write("elsewhere/file", "");
    for (folder, file) in [("", "conf/longshore.toml"), ("elsewhere", "../conf/longshore.toml")] {
        let mut command = home.command();
        command.current_dir(home.path(folder)).args(["ps", "--all", "--config", file]);
        Ran::of(&mut command).exits(0);
        assert!(home.path("conf/state/installation").exists());
        assert!(!home.path(folder).join("state").exists());
    }
}
