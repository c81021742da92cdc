//! Links the command at a fixed address, and each function once.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Keeps functions with the same code only once: 5 % of the program. Rust does not promise that two
/// functions have different addresses. Only some linkers know the option.
const FOLD: &str = "-Wl,--icf=all";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A supervisor is this program, executed again. In a position-independent one, the loader writes to
    // every page with an address, so that no two processes share it: 0.4 MiB for each detached job.
    // Libraries, heap and stack keep their random addresses.
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") && links_with(FOLD).is_some() {
        println!("cargo::rustc-link-arg-bins={FOLD}");
    }
}

/// Returns `Some` if an empty program can be linked with `option`.
fn links_with(option: &str) -> Option<()> {
    let folder = PathBuf::from(env::var_os("OUT_DIR")?);
    let source = folder.join("empty.rs");
    std::fs::write(&source, "fn main() {}").ok()?;
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut rustc = Command::new(env::var_os("RUSTC")?);
    rustc.arg(source).arg("--out-dir").arg(folder).arg("--target").arg(env::var_os("TARGET")?);
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    rustc.args(["-C", &format!("link-arg={option}")]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    let status = rustc.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    status.success().then_some(())
}
