//! The registry credentials that the engine receives. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use longshore_core::{Error, ErrorKind, ImageRef, RegistryAuth, RegistryIdentity, Result};
use serde::Serialize;

/// The name of Docker's own registry in credentials
/// (<https://docs.docker.com/reference/api/engine/version/v1.41/#section/Authentication>).
const DOCKER_IO: &str = "https://index.docker.io/v1/";

/// The content of the header `X-Registry-Auth`.
#[derive(Default, Serialize)]
struct Shown<'a> {
    serveraddress: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identitytoken: Option<&'a str>,
}

/// The value of the header `X-Registry-Auth`: JSON in the URL-safe alphabet of base 64, padded. Of the
/// standard alphabet an engine does not understand `+` and `/`: 20.10 then pulls as if there were no
/// credentials.
///
/// # Errors
/// If the credentials are for another registry than the image's: they are sent to no other.
pub(crate) fn header(auth: &RegistryAuth, image: &ImageRef) -> Result<String> {
    let server = host(&auth.server);
    if server != host(image.registry()) {
        return Err(Error::new(
            ErrorKind::Internal,
            "the credentials are for another registry than the image's",
        )
        .with("image", image)
        .with("registry", server));
    }
    let serveraddress = if server == "docker.io" { DOCKER_IO } else { server };
    let mut shown = Shown { serveraddress, ..Shown::default() };
    match &auth.identity {
        RegistryIdentity::Password { username, password } => {
            shown.username = Some(username);
            shown.password = Some(password.expose());
        }
        RegistryIdentity::Token(token) => shown.identitytoken = Some(token.expose()),
        _ => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "Docker knows no such way to log in to a registry",
            ));
        }
    }
    let json = serde_json::to_vec(&shown).map_err(|error| {
        Error::new(ErrorKind::Internal, "failed to write the credentials").caused_by(error)
    })?;
    Ok(URL_SAFE.encode(json))
}

/// The registry as image names write it.
fn host(server: &str) -> &str {
    match server.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::Secret;
    use serde_json::{Value, json};

    use super::*;

    fn shown(auth: &RegistryAuth, image: &str) -> Value {
        let header = header(auth, &image.parse().unwrap()).unwrap();
        let Value::Object(mut shown) =
            serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap()
        else {
            panic!("no object")
        };
        shown.retain(|_, value| !value.is_null());
        Value::Object(shown)
    }

    #[test]
    fn the_engine_is_given_name_and_password_or_the_token_and_the_registry() {
        let password = |server: &str| RegistryAuth::password(server, "me", Secret::new("hunter2"));
        let said = |server: &str| json!({"username": "me", "password": "hunter2", "serveraddress": server});
        assert_eq!(shown(&password("localhost:5001"), "localhost:5001/a"), said("localhost:5001"));
        for server in ["docker.io", "index.docker.io"] {
            assert_eq!(shown(&password(server), "library/x:1"), said(DOCKER_IO));
        }
        let token = RegistryAuth::token("r.example.org", Secret::new("t"));
        assert_eq!(
            shown(&token, "r.example.org/a"),
            json!({"identitytoken": "t", "serveraddress": "r.example.org"})
        );
    }

    #[test]
    fn no_password_makes_the_header_leave_the_url_safe_alphabet() {
        for password in ["???", "~~~~", "ÿÿÿ", "a>b?c>d?", "日本語"] {
            let auth = RegistryAuth::password("r.example.org", "u", Secret::new(password));
            let header = header(&auth, &"r.example.org/a".parse().unwrap()).unwrap();
            assert!(!header.contains(['+', '/']), "{header}");
            assert_eq!(header.len() % 4, 0, "padded: {header}");
        }
    }

    #[test]
    fn credentials_are_shown_to_no_other_registry() {
        let auth = RegistryAuth::password("r.example.org", "u", Secret::new("hunter2"));
        for image in ["a", "r.example.org:5000/a", "x.example.org/r.example.org"] {
            let error = header(&auth, &image.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
