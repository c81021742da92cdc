//! Checks that the command starts. Cargo builds a package's command along with its integration
//! tests, so this test also makes `cargo test --workspace` leave a fresh `longshore` for the
//! end-to-end tests.

use assert_cmd::Command;

#[test]
fn the_command_tells_its_version() {
    let expected = concat!("longshore ", env!("CARGO_PKG_VERSION"), "\n");
    Command::new(env!("CARGO_BIN_EXE_longshore"))
        .arg("--version")
        .assert()
        .success()
        .stdout(expected);
}
