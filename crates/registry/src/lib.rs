//! Who we are to an image's registry.

mod check;
mod keyring;

pub use check::InvalidLogin;
pub use keyring::{Found, Keyring};
