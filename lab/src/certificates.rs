//! Keys, certificates, tokens and the kubeconfigs that contain them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::graph::Done;
use super::layout::{Lab, NODE, hex, make_dir, short_hash};
use super::{network, shell};

/// The clients of the API server: kubeconfig, user, groups.
const USERS: [(&str, &str, &str); 5] = [
    ("admin", "longshore-admin", "system:masters"),
    // Separate from the administrator, so that the audit log omits its requests.
    ("lab", "longshore-lab", "system:masters,system:lab"),
    ("controller-manager", "system:kube-controller-manager", "system:lab"),
    ("scheduler", "system:kube-scheduler", "system:lab"),
    ("kubelet", "system:node:longshore-lab", "system:nodes"),
];

/// How long before their creation the certificates become valid, so that a client whose clock is
/// behind accepts them.
const AGE: &str = "-1d";

struct Certificate {
    name: &'static str,
    subject: &'static str,
    extensions: String,
}

/// Returns the path of one of the cluster's keys and certificates.
pub(crate) fn path(lab: &Lab, name: &str) -> PathBuf {
    lab.etc("pki").join(name)
}

pub(crate) fn tokens(lab: &Lab) -> PathBuf {
    lab.etc("tokens.csv")
}

pub(crate) fn kubeconfig(lab: &Lab, user: &str) -> PathBuf {
    lab.etc(&format!("{user}.kubeconfig"))
}

/// Creates all of them, unless they were created with this recipe.
pub(crate) fn ensure(lab: &Lab) -> Result<Done> {
    let stamp = path(lab, "stamp");
    let recipe = recipe();
    if fs::read_to_string(&stamp).is_ok_and(|found| found == recipe) {
        return Ok(Done::Already);
    }
    make_dir(&path(lab, ""))?;
    make_authority(lab)?;
    shell::run(
        "openssl",
        ["genrsa", "-out", &path(lab, "service-account.key").to_string_lossy(), "2048"],
    )?;
    for certificate in certificates() {
        issue(lab, &certificate)?;
    }
    make_kubeconfigs(lab)?;
    lab.write(&stamp, recipe)?;
    Ok(Done::Changed("created".into()))
}

fn recipe() -> String {
    let certificates = certificates();
    let parts = certificates.iter().flat_map(|certificate| {
        [certificate.name, certificate.subject, certificate.extensions.as_str()]
    });
    let age: [&[u8]; 1] = [AGE.as_bytes()];
    let users = USERS.iter().flat_map(|(name, user, groups)| [*name, *user, *groups]);
    let parts: Vec<&[u8]> = parts.chain(users).map(str::as_bytes).chain(age).collect();
    short_hash(&parts)
}

fn certificates() -> [Certificate; 3] {
    let server = format!(
        "extendedKeyUsage=serverAuth\nsubjectAltName=IP:{},IP:{},DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc\n",
        network::API.ip(),
        network::API_SERVICE,
    );
    let client = || "extendedKeyUsage=clientAuth\n".to_owned();
    [
        Certificate { name: "apiserver", subject: "/CN=kube-apiserver", extensions: server },
        Certificate {
            name: "apiserver-kubelet",
            subject: "/O=system:masters/CN=kube-apiserver-kubelet-client",
            extensions: client(),
        },
        Certificate {
            name: "admin",
            subject: "/O=system:masters/CN=longshore-admin",
            extensions: client(),
        },
    ]
}

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn make_authority(lab: &Lab) -> Result<()> {
    let key = path(lab, "ca.key");
    let certificate = path(lab, "ca.crt");
    let (key, certificate) = (key.to_string_lossy(), certificate.to_string_lossy());
    let output = ["-keyout", &key, "-out", &certificate];
    let subject = ["-subj", "/CN=longshore-lab", "-days", "3650"];
    let base = ["req", "-x509"];
    run_earlier(base.iter().chain(&KEY).chain(&subject).chain(&output).copied())?;
    Ok(())
}

fn issue(lab: &Lab, certificate: &Certificate) -> Result<()> {
    let file = |end: &str| path(lab, &format!("{}.{end}", certificate.name));
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    lab.write(&file("extensions"), &certificate.extensions)?;
    let (key, request) = (text(file("key")), text(file("csr")));
    let output = ["-subj", certificate.subject, "-keyout", &key, "-out", &request];
    shell::run("openssl", ["req", "-new"].iter().chain(&KEY).chain(&output))?;
    let (authority, authority_key) = (text(path(lab, "ca.crt")), text(path(lab, "ca.key")));
    let (extensions, out) = (text(file("extensions")), text(file("crt")));
    run_earlier([
        "x509",
        "-req",
        "-days",
        "3650",
        "-CAcreateserial",
        "-in",
        &request,
        "-CA",
        &authority,
        "-CAkey",
        &authority_key,
        "-extfile",
        &extensions,
        "-out",
        &out,
    ])
}

/// Runs openssl as if it had been [`AGE`] ago.
fn run_earlier<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let faked = ["-f", AGE, "openssl"];
    shell::run("faketime", faked.into_iter().chain(args)).map(drop)
}

fn make_kubeconfigs(lab: &Lab) -> Result<()> {
    let authority = base64(&path(lab, "ca.crt"))?;
    let mut table = String::new();
    for (name, user, groups) in USERS {
        let token = random_token()?;
        table.push_str(&format!("{token},{user},{user},\"{groups}\"\n"));
        let credentials = json!({ "token": token });
        write_kubeconfig(lab, name, &authority, &credentials)?;
    }
    lab.write(&tokens(lab), table)?;
    let credentials = json!({
        "client-certificate-data": base64(&path(lab, "admin.crt"))?,
        "client-key-data": base64(&path(lab, "admin.key"))?,
    });
    write_kubeconfig(lab, "admin-certificate", &authority, &credentials)
}

/// Writes a kubeconfig as JSON, which is valid YAML.
fn write_kubeconfig(
    lab: &Lab,
    name: &str,
    authority: &str,
    credentials: &serde_json::Value,
) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": NODE,
            "cluster": {
                "server": format!("https://{}", network::API),
                "certificate-authority-data": authority,
            },
        }],
        "users": [{ "name": name, "user": credentials }],
        "contexts": [{ "name": NODE, "context": { "cluster": NODE, "user": name } }],
        "current-context": NODE,
    });
    lab.write(&kubeconfig(lab, name), serde_json::to_vec_pretty(&config)?)
}

/// Returns the base64 of the content of `file`, in one line.
pub(crate) fn base64(file: &Path) -> Result<String> {
    let file = file.to_string_lossy();
    Ok(shell::run("openssl", ["base64", "-A", "-in", file.as_ref()])?.trim().to_owned())
}

/// Returns 32 random hexadecimal digits.
pub(crate) fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("failed to read random bytes")?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelet_is_the_lab_node() {
        let (_, user, groups) = USERS[4];
        assert_eq!((user, groups), (format!("system:node:{NODE}").as_str(), "system:nodes"));
    }
}
