//! The interface of one crate, as rustdoc describes it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustdoc_types::FORMAT_VERSION;
use serde_json::Value;

pub(super) struct Interface {
    /// The crate's name in Rust: `longshore_core`.
    pub krate: String,
    pub json: Value,
    /// Its listing, in the format of cargo-public-api.
    pub listing: String,
}

impl Interface {
    /// Reads what rustdoc has written about the library `krate` below the folder `target`.
    pub(super) fn read(target: &Path, krate: &str) -> Result<Self> {
        let path = target.join("doc").join(format!("{krate}.json"));
        let text = fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        let json: Value = serde_json::from_str(&text)?;
        let format = &json["format_version"];
        if format.as_u64() != Some(u64::from(FORMAT_VERSION)) {
            bail!(
                "this rustdoc writes JSON of format {format}, but the crate public-api reads \
             {FORMAT_VERSION}: use the version of Rust that Cargo.toml names"
            );
        }
        let public = public_api::Builder::from_rustdoc_json(&path)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .build()?;
        Ok(Self { krate: krate.to_owned(), json, listing: public.to_string() })
    }
}
