//! What Docker's `config.json` says about a registry, without running a helper.
//!
//! Rules: <https://docs.docker.com/reference/cli/docker/login/> and `cli/config/configfile` of
//! docker/cli. No error contains the file's content: a parser's own message may repeat a value.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use longshore_core::{ImageRef, RegistryAuth, Secret};
use serde::Deserialize;
use serde_json::Value;

use crate::check::usable_name;
use crate::password::usable;
use crate::program::Program;
use crate::server::{Server, docker_name, registry_of};

/// Accepts base64 without padding, because files written by hand may lack it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The parts of `config.json` with credentials. Entries of other registries may have any shape.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigJson {
    cred_helpers: Option<BTreeMap<String, Value>>,
    creds_store: Option<String>,
    auths: Option<BTreeMap<String, Value>>,
}

/// One source in `config.json` that may provide credentials.
pub(crate) struct CredentialSource {
    /// Its key: `credHelpers`, `credsStore`, `auths`.
    pub(crate) key: &'static str,
    /// Its content, or what is wrong with it.
    pub(crate) holds: Result<Holds, String>,
}

pub(crate) enum Holds {
    Helper(Program),
    Login(RegistryAuth),
}

impl ConfigJson {
    /// Parses the file's content.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        // An empty file is an empty configuration, as in Docker.
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("is not a Docker configuration (line {line}, column {column})")
        })
    }

    /// Returns the sources to look up the registry of `image`, in order.
    pub(crate) fn sources(&self, image: &ImageRef) -> Vec<CredentialSource> {
        let mut sources = Vec::new();
        let named = self.cred_helpers.as_ref().and_then(|it| best(it, image, |_| true));
        match named {
            // A registry without a helper is not in the store either.
            Some(Value::String(name)) if name.is_empty() => {}
            Some(Value::String(name)) => sources.push(helper("credHelpers", name)),
            Some(_) => sources.push(wrong("credHelpers", "the helper's name is not a string")),
            None => {}
        }
        if let (None, Some(name)) = (named, &self.creds_store)
            && !name.is_empty()
        {
            sources.push(helper("credsStore", name));
        }
        if let Some(entry) = self.auths.as_ref().and_then(|it| best(it, image, says_something)) {
            let holds = login(entry, registry_of(image)).map(Holds::Login).map_err(str::to_owned);
            sources.push(CredentialSource { key: "auths", holds });
        }
        sources
    }
}

fn helper(key: &'static str, name: &str) -> CredentialSource {
    let program = Program::of(name).map(Holds::Helper);
    CredentialSource { key, holds: program.map_err(|why| format!("the helper's name {why}")) }
}

fn wrong(key: &'static str, why: &str) -> CredentialSource {
    CredentialSource { key, holds: Err(why.to_owned()) }
}

/// Returns the entry whose key fits `image` best: the longest path, then Docker's own spelling, then
/// the first.
fn best<'a>(
    entries: &'a BTreeMap<String, Value>,
    image: &ImageRef,
    counts: impl Fn(&Value) -> bool,
) -> Option<&'a Value> {
    let own = docker_name(registry_of(image));
    let fitting = entries.iter().filter(|(_, entry)| counts(entry)).filter_map(|(key, entry)| {
        Some(((Server::of_key(key).fits(image)?, key == own, Reverse(key)), entry))
    });
    fitting.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, entry)| entry)
}

/// Returns whether an entry contains credentials.
///
/// `docker login` leaves an empty entry for a server whose credentials a helper stores.
fn says_something(entry: &Value) -> bool {
    entry.as_object().is_none_or(|entry| {
        let keys = ["identitytoken", "auth", "username", "password", "registrytoken"];
        keys.iter().any(|key| entry.get(*key).is_some_and(|it| !it.is_null() && it != ""))
    })
}

/// Parses the credentials for `registry` from an entry of `auths`.
fn login(entry: &Value, registry: &str) -> Result<RegistryAuth, &'static str> {
    let entry = entry.as_object().ok_or("the server's entry is not an object")?;
    let text = |key| match entry.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err("a value in the server's entry is not a string"),
    };
    let (token, auth) = (text("identitytoken")?, text("auth")?);
    let (username, password) = (text("username")?, text("password")?);
    if !token.is_empty() {
        let token = secret(token.to_owned(), "the server's `identitytoken` is invalid")?;
        return Ok(RegistryAuth::token(registry, token));
    }
    if !auth.is_empty() {
        let (username, password) =
            decode(auth).ok_or("the server's `auth` is not `NAME:PASSWORD` in base64")?;
        return named(registry, username, password);
    }
    if username.is_empty() && password.is_empty() {
        return Err("the server's `registrytoken` is not supported: `docker login` writes none");
    }
    named(registry, username.to_owned(), password.to_owned())
}

fn named(registry: &str, username: String, password: String) -> Result<RegistryAuth, &'static str> {
    usable_name(&username).map_err(|_| "the server's user name is invalid")?;
    let password = secret(password, "the server's password is empty or has a newline inside")?;
    Ok(RegistryAuth::password(registry, username, password))
}

fn secret(text: String, why: &'static str) -> Result<Secret, &'static str> {
    usable(text.into_bytes()).map_err(|_| why)
}

/// Decodes a user name and password. Docker pads the text with NULs if it reserved too much space.
fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}
