//! The answers of credential helpers, in Docker's protocol
//! (<https://github.com/docker/docker-credential-helpers>).

use std::process::ExitStatus;

use longshore_core::RegistryAuth;
use serde::Deserialize;

use crate::check::usable_name;
use crate::password::usable;

/// What every helper prints on standard output for a server that it does not know.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that marks the secret as an identity token.
const TOKEN: &str = "<token>";
/// How much of a helper's error message is shown, in characters.
const LONGEST_COMPLAINT: usize = 300;

/// A helper's exit status and output.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Why a helper's output is unusable. Never contains what may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Useless {
    #[error("it failed ({status}): {complaint}")]
    Failed { status: String, complaint: String },
    #[error("its answer is not a JSON object with the strings `Username` and `Secret`")]
    Rubbish,
    #[error("its answer's `{0}`: {1}")]
    Unusable(&'static str, &'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    username: String,
    secret: String,
}

/// Parses the credentials for `registry` from a helper's output. Returns `None` if the helper has
/// none.
pub(crate) fn understand(output: Output, registry: &str) -> Result<Option<RegistryAuth>, Useless> {
    if !output.status.success() {
        return match complaint(&output) {
            None => Ok(None),
            Some(complaint) => {
                Err(Useless::Failed { status: output.status.to_string(), complaint })
            }
        };
    }
    // The cause is dropped: it would contain the value found in place of a string.
    let said: Credentials = serde_json::from_slice(&output.stdout).map_err(|_| Useless::Rubbish)?;
    // `docker-credential-pass` (0.6.4) answers this for a server that it does not know.
    if said.username.is_empty() && said.secret.is_empty() {
        return Ok(None);
    }
    let secret =
        usable(said.secret.into_bytes()).map_err(|why| Useless::Unusable("Secret", why))?;
    if said.username == TOKEN {
        return Ok(Some(RegistryAuth::token(registry, secret)));
    }
    usable_name(&said.username).map_err(|why| Useless::Unusable("Username", why))?;
    Ok(Some(RegistryAuth::password(registry, said.username, secret)))
}

/// Returns the error message of a failed helper, or `None` if it only does not know the server.
///
/// Docker's own helpers print errors on standard output, others on standard error. Output that looks
/// like an answer is not repeated, because it may contain the secret.
fn complaint(output: &Output) -> Option<String> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    if stdout.trim() == NOT_FOUND {
        return None;
    }
    let stderr = one_line(&String::from_utf8_lossy(&output.stderr));
    if !stderr.is_empty() {
        return Some(stderr);
    }
    let shown = !stdout.contains(['{', '}', '"']);
    let text = shown.then(|| one_line(&stdout)).filter(|text| !text.is_empty());
    Some(text.unwrap_or_else(|| "it gave no reason".to_owned()))
}

fn one_line(text: &str) -> String {
    let printable = text.replace(char::is_control, " ");
    let words: Vec<&str> = printable.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST_COMPLAINT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use longshore_core::Secret;

    use super::*;

    fn said(code: i32, stdout: &str, stderr: &str) -> Result<Option<RegistryAuth>, Useless> {
        let status = ExitStatus::from_raw(code << 8);
        understand(Output { status, stdout: stdout.into(), stderr: stderr.into() }, "h")
    }

    #[test]
    fn an_answer_is_a_name_with_its_password_or_a_token() {
        let answer = r#"{"ServerURL":"https://h","Username":"me","Secret":"pw","More":1}"#;
        let password = RegistryAuth::password("h", "me", Secret::new("pw"));
        assert_eq!(said(0, answer, "a note"), Ok(Some(password)));
        let answer = r#"{"Username":"<token>","Secret":"t"}"#;
        assert_eq!(said(0, answer, ""), Ok(Some(RegistryAuth::token("h", Secret::new("t")))));
    }

    #[test]
    fn a_server_that_a_helper_does_not_know_is_no_failure() {
        assert_eq!(said(1, "credentials not found in native keychain\n", ""), Ok(None));
        assert_eq!(said(0, r#"{"ServerURL":"h","Username":"","Secret":""}"#, ""), Ok(None));
        assert!(said(0, "credentials not found in native keychain\n", "").is_err());
    }

    #[test]
    fn a_failure_is_told_in_one_bounded_line() {
        for (stdout, stderr, expected) in [
            ("", "boom\n  at\tline 1\x1b[0m\n", "boom at line 1 [0m"),
            ("gpg: decryption failed\n", "", "gpg: decryption failed"),
            ("gpg: decryption failed\n", "boom", "boom"),
            ("", "", "it gave no reason"),
            (r#"{"Username":"me","Secret":"hunter2"}"#, "", "it gave no reason"),
        ] {
            let Err(Useless::Failed { status, complaint }) = said(3, stdout, stderr) else {
                panic!("{stdout} {stderr}: no failure");
            };
            assert_eq!((status.as_str(), complaint.as_str()), ("exit status: 3", expected));
        }
        let Err(Useless::Failed { complaint, .. }) = said(1, "", &"é".repeat(5000)) else {
            panic!("no failure");
        };
        assert_eq!(complaint.chars().count(), LONGEST_COMPLAINT + 1);
    }

    #[test]
    fn an_answer_of_another_shape_is_refused_and_not_repeated() {
        for (stdout, expected) in [
            ("", "JSON object"),
            ("hunter2", "JSON object"),
            ("[]", "JSON object"),
            ("{}", "JSON object"),
            (r#"{"Username":"me"}"#, "JSON object"),
            (r#"{"Username":{"hunter2":1},"Secret":"hunter2"}"#, "JSON object"),
            (r#"{"Username":"me","Secret":"hunter2"} hunter2"#, "JSON object"),
            (r#"{"Username":"me","Secret":""}"#, "`Secret`: it is empty"),
            (r#"{"Username":"me","Secret":"hunter2\nhunter2"}"#, "`Secret`: it has a newline"),
            (r#"{"Username":"<token>","Secret":"hunter2\u0000"}"#, "`Secret`: it has a NUL"),
            (r#"{"Username":"","Secret":"hunter2"}"#, "`Username`: is empty"),
            (r#"{"Username":"a:hunter2","Secret":"hunter2"}"#, "`Username`: has a colon"),
        ] {
            let error = said(0, stdout, "hunter2").unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{stdout}: {error}");
        }
    }
}
