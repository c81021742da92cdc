//! Reads a job's secret environment before anything starts.

use std::collections::BTreeMap;
use std::path::Path;

use longshore_core::{Error, ErrorKind, JobSpec, Secret, SecretSource};
use tokio::io::AsyncReadExt;

/// Larger than any value an environment can hold: Linux bounds one variable to 128 KiB
/// (`MAX_ARG_STRLEN`, execve(2)).
const LARGEST: u64 = 128 * 1024;

/// Returns the values of the job's secret environment, except those from a Kubernetes Secret.
///
/// # Errors
/// `InvalidSpec` that names the variable and its source, never its value.
pub(crate) async fn read(spec: &JobSpec) -> Result<BTreeMap<String, Secret>, Error> {
    let mut values = BTreeMap::new();
    for (name, source) in &spec.secret_env {
        let text = match source {
            SecretSource::File(path) => {
                read_file(path).await.map_err(|e| e.with("file", path.display()))
            }
            SecretSource::Env(variable) => {
                read_variable(variable).map_err(|e| e.with("variable", variable))
            }
            _ => continue,
        };
        let text = text.map_err(|e| e.with("secretEnv", name))?;
        values.insert(name.clone(), checked(name, text)?);
    }
    Ok(values)
}

/// Adds the secrets that a submission has `given` to `values`.
///
/// # Errors
/// `InvalidSpec` that names the variable, never its value.
pub(crate) fn add(
    values: &mut BTreeMap<String, Secret>,
    spec: &JobSpec,
    given: BTreeMap<String, Secret>,
) -> Result<(), Error> {
    if given.is_empty() {
        return Ok(());
    }
    // The rules for names are those of the spec's own secrets.
    let mut named = spec.clone();
    for (name, secret) in given {
        if named.secret_env.contains_key(&name) {
            let twice = "a secret is set by the job and by its submission";
            return Err(invalid(twice).with("secretEnv", name));
        }
        named.secret_env.insert(name.clone(), SecretSource::Env(name.clone()));
        if secret.expose().len() as u64 > LARGEST {
            return Err(invalid("a secret is larger than 128 KiB").with("secretEnv", name));
        }
        let secret = checked(&name, secret.expose().to_owned())?;
        values.insert(name, secret);
    }
    named.validate()
}

fn checked(name: &str, text: String) -> Result<Secret, Error> {
    if text.contains('\0') {
        return Err(invalid("a secret's value has a NUL character").with("secretEnv", name));
    }
    Ok(Secret::new(text))
}

/// Returns each secret variable of `spec` with a mask in place of its value, for a plan.
pub(crate) fn masked(spec: &JobSpec) -> BTreeMap<String, Secret> {
    let read_here = |s: &SecretSource| !matches!(s, SecretSource::SecretKeyRef { .. });
    let names = spec.secret_env.iter().filter(|(_, s)| read_here(s)).map(|(name, _)| name.clone());
    names.map(|name| (name, Secret::new("***"))).collect()
}

async fn read_file(path: &Path) -> Result<String, Error> {
    let failed = |e: std::io::Error| invalid("failed to read a secret").caused_by(e);
    // Opening a pipe would wait forever for its writer.
    if !tokio::fs::metadata(path).await.map_err(failed)?.is_file() {
        return Err(invalid("a secret's source is not a regular file"));
    }
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(invalid("a secret is larger than 128 KiB"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| invalid("a secret is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

fn read_variable(variable: &str) -> Result<String, Error> {
    // Not the cause itself: its text contains the value that is not UTF-8.
    std::env::var(variable).map_err(|error| match error {
        std::env::VarError::NotPresent => invalid("a secret's variable is not set"),
        std::env::VarError::NotUnicode(_) => invalid("a secret's variable is not UTF-8"),
    })
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidSpec, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_one(source: SecretSource) -> Result<String, String> {
        let mut spec = JobSpec::process(["true"]);
        spec.secret_env.insert("TOKEN".to_owned(), source);
        let mut values = read(&spec).await.map_err(|e| e.to_string())?;
        Ok(values.remove("TOKEN").unwrap().expose().to_owned())
    }

    async fn read_content(content: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, content).unwrap();
        read_one(SecretSource::File(path)).await
    }

    #[tokio::test]
    async fn one_final_newline_of_a_secret_file_is_removed() {
        assert_eq!(read_content(b"a\nb\n\n").await.unwrap(), "a\nb\n");
        assert_eq!(read_content(b"").await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_is_refused_by_name_and_never_shown() {
        let missing = read_one(SecretSource::File("/no/such/file".into())).await.unwrap_err();
        assert!(missing.contains("/no/such/file") && missing.contains("secretEnv: TOKEN"));
        let folder = read_one(SecretSource::File("/".into())).await.unwrap_err();
        assert!(folder.contains("not a regular file"), "{folder}");
        let unset = read_one(SecretSource::Env("LONGSHORE_NO_SUCH".to_owned())).await.unwrap_err();
        assert!(unset.contains("variable: LONGSHORE_NO_SUCH"), "{unset}");
        for bad in [&b"hunter2\xff"[..], b"hunter2\0", &[b'x'; LARGEST as usize + 1]] {
            let said = read_content(bad).await.unwrap_err();
            assert!(said.contains("TOKEN") && !said.contains("hunter2"), "{said}");
        }
    }
}
