//! Links the command so that a process of it costs little memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Keeps functions with the same code only once. Rust does not promise that two functions have different
/// addresses. Only some linkers know the option.
const FOLD: &str = "-Wl,--icf=all";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "gnu") {
        // A supervisor is this program, executed again. In a position-independent one, the loader writes
        // to every page with an address, so that no two processes share it: 0.4 MiB for each detached
        // job. Libraries, heap and stack keep their random addresses.
        println!("cargo::rustc-link-arg-bins=-no-pie");
        link_unwinder()?;
    }
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") && links_with(FOLD)? {
        println!("cargo::rustc-link-arg-bins={FOLD}");
    }
    Ok(())
}

/// Returns whether an empty program can be linked with `option`.
fn links_with(option: &str) -> io::Result<bool> {
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let source = folder.join("empty.rs");
    fs::write(&source, "fn main() {}")?;
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_default());
    rustc.arg(source).arg("--out-dir").arg(folder);
    rustc.arg("--target").arg(env::var_os("TARGET").unwrap_or_default());
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    rustc.args(["-C", &format!("link-arg={option}")]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    Ok(rustc.output()?.status.success())
}

/// Links the unwinder into the program. As a library, it has pages of its own in each process, and each
/// process has to load it. Rust names the library, and knows no option for this.
fn link_unwinder() -> io::Result<()> {
    // A compiler without it, or for another architecture, links the library.
    let is_native = env::var("HOST").ok() == env::var("TARGET").ok();
    if !is_native || !has_static_unwinder() {
        return Ok(());
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(folder.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n")?;
    println!("cargo::rustc-link-arg-bins=-L{}", folder.display());
    Ok(())
}

fn has_static_unwinder() -> bool {
    let found = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    // Without the file, the compiler prints its name alone.
    found.is_ok_and(|found| {
        let path = String::from_utf8_lossy(&found.stdout);
        Path::new(path.trim()).is_absolute()
    })
}
