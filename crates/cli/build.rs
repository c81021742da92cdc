//! Links the command at a fixed address.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A supervisor is this program, executed again. In a position-independent one, the loader writes to
    // every page with an address, so that no two processes share it: 0.4 MiB for each detached job.
    // Libraries, heap and stack keep their random addresses.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
