//! The credentials for an image's registry.
//!
//! A [`Keyring`] takes an image's name and returns the credentials for its registry, their origin,
//! and warnings for a person. It reads files and runs helpers only on request and caches nothing: a
//! changed password or an expired token is read again.
//!
//! # Where it looks
//!
//! 1. The logins of the job itself, `registries`.
//! 2. The logins of the configuration, `job.registries`.
//! 3. Docker's `config.json`, if [`Keyring::with_docker_config`] enables it: `credHelpers`, then
//!    `credsStore`, then `auths` (<https://docs.docker.com/reference/cli/docker/login/>).
//!
//! The first source that knows the registry applies. Within one source, the longest server that the
//! image's name begins with applies, by whole path segments: `h/team` is for `h/team/app`, not for
//! `h/teamwork/app`. Hosts and ports are compared literally. `docker.io`, `index.docker.io` and, in
//! `config.json`, `https://index.docker.io/v1/` are the same registry.
//!
//! # Failures
//!
//! The logins of 1 and 2 are explicit: if one fails, that is an error, and nothing is pulled. The
//! logins of 3 are implicit: if one fails, that is a warning, and the registry is accessed
//! anonymously. No error, warning or `Debug` text contains a password or a token.
//!
//! # Why not a library
//!
//! The crate `docker_credential` (1.4) blocks the caller's thread for as long as a helper takes,
//! starts any program that a helper's name leads to, repeats everything that a failed helper
//! printed, and reads `auths` before `credsStore`, ignoring paths. Here a helper has a plain name, a
//! time limit after which its whole process group is killed, and bounded output. Nothing that may be
//! a secret is repeated.

mod answer;
mod check;
mod config_json;
mod docker_config;
mod found;
mod helper;
mod keyring;
mod login;
mod password;
mod program;
mod read;
mod server;

#[doc(hidden)]
pub mod fuzzing;

pub use check::InvalidLogin;
pub use found::Found;
pub use keyring::Keyring;
