//! What Docker's `config.json` says of a registry, without asking anyone.
//!
//! Rules: <https://docs.docker.com/reference/cli/docker/login/> and `cli/config/configfile` of
//! docker/cli. No error holds what the file holds: a parser's own message may repeat a value.

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
use crate::helper::Program;
use crate::password::usable;
use crate::server::{Server, docker_name, registry_of};

/// Hand-made files lack the padding at times.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The parts of `config.json` that tell who we are. Other registries' entries may be of any shape.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigJson {
    cred_helpers: Option<BTreeMap<String, Value>>,
    creds_store: Option<String>,
    auths: Option<BTreeMap<String, Value>>,
}

/// One place of `config.json` where to look.
pub(crate) struct Place {
    /// Its key: `credHelpers`, `credsStore`, `auths`.
    pub(crate) key: &'static str,
    /// What is there, or what is wrong with it.
    pub(crate) holds: Result<Holds, String>,
}

pub(crate) enum Holds {
    Helper(Program),
    Login(RegistryAuth),
}

impl ConfigJson {
    /// Reads the file's content.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        // As Docker does: an empty file says nothing.
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("is not what Docker writes (line {line}, column {column})")
        })
    }

    /// Where to look for the registry of `image`, in order.
    pub(crate) fn places(&self, image: &ImageRef) -> Vec<Place> {
        let mut places = Vec::new();
        let named = self.cred_helpers.as_ref().and_then(|it| best(it, image, |_| true));
        match named {
            // A registry without a helper is not in the store either.
            Some(Value::String(name)) if name.is_empty() => {}
            Some(Value::String(name)) => places.push(helper("credHelpers", name)),
            Some(_) => places.push(wrong("credHelpers", "the helper's name is no text")),
            None => {}
        }
        if let (None, Some(name)) = (named, &self.creds_store)
            && !name.is_empty()
        {
            places.push(helper("credsStore", name));
        }
        if let Some(entry) = self.auths.as_ref().and_then(|it| best(it, image, says_something)) {
            let holds = login(entry, registry_of(image)).map(Holds::Login).map_err(str::to_owned);
            places.push(Place { key: "auths", holds });
        }
        places
    }
}

fn helper(key: &'static str, name: &str) -> Place {
    let program = Program::of(name).map(Holds::Helper);
    Place { key, holds: program.map_err(|why| format!("the helper's name {why}")) }
}

fn wrong(key: &'static str, why: &str) -> Place {
    Place { key, holds: Err(why.to_owned()) }
}

/// The entry whose key fits `image` best: the longest path, then Docker's own spelling, then the
/// first.
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

/// `docker login` leaves an empty entry for a server that a helper knows.
fn says_something(entry: &Value) -> bool {
    entry.as_object().is_none_or(|entry| {
        let keys = ["identitytoken", "auth", "username", "password", "registrytoken"];
        keys.iter().any(|key| entry.get(*key).is_some_and(|it| !it.is_null() && it != ""))
    })
}

/// Who an entry of `auths` says we are to `registry`.
fn login(entry: &Value, registry: &str) -> Result<RegistryAuth, &'static str> {
    let entry = entry.as_object().ok_or("the server's entry is no object")?;
    let text = |key| match entry.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err("a value in the server's entry is no text"),
    };
    let (token, auth) = (text("identitytoken")?, text("auth")?);
    let (username, password) = (text("username")?, text("password")?);
    if !token.is_empty() {
        let token = secret(token.to_owned(), "the server's `identitytoken` is of no use")?;
        return Ok(RegistryAuth::token(registry, token));
    }
    if !auth.is_empty() {
        let (username, password) =
            decode(auth).ok_or("the server's `auth` is not `NAME:PASSWORD` in base64")?;
        return named(registry, username, password);
    }
    if username.is_empty() && password.is_empty() {
        return Err("the server's `registrytoken` is not understood: `docker login` writes none");
    }
    named(registry, username.to_owned(), password.to_owned())
}

fn named(registry: &str, username: String, password: String) -> Result<RegistryAuth, &'static str> {
    usable_name(&username).map_err(|_| "the server's user name is of no use")?;
    let password = secret(password, "the server's password is empty or has a newline inside")?;
    Ok(RegistryAuth::password(registry, username, password))
}

fn secret(text: String, why: &'static str) -> Result<Secret, &'static str> {
    usable(text.into_bytes()).map_err(|_| why)
}

/// Name and password; Docker pads the text with NULs where it reserved too much.
fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}
