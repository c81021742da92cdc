//! The answer of a kubeconfig's credential plug-in. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kube::config::AuthInfo;
use serde::Deserialize;

/// What a plug-in answers: an `ExecCredential`
/// (<https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>).
#[derive(Deserialize)]
struct ExecCredential {
    kind: Option<String>,
    status: Option<Credential>,
}

/// How the client identifies itself. It has no `Debug`, because its fields are secrets.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Credential {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// Why an answer is unusable. Never contains a part of the answer, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("its answer is not an ExecCredential in JSON")]
    Rubbish,
    #[error("its answer has neither a token nor a client certificate with its key")]
    Empty,
    #[error("the token in its answer has characters that no token has")]
    Token,
    #[error("the expirationTimestamp in its answer is not a time")]
    Expiration,
}

impl Credential {
    /// Reads the answer of a plug-in: JSON, or YAML as client-go accepts it.
    pub(crate) fn read(answer: &[u8]) -> Result<Self, Unusable> {
        // The causes are dropped: they would show the place, with what is there.
        let json = serde_json::from_slice(answer);
        let read: ExecCredential = match json {
            Ok(read) => read,
            Err(_) => serde_saphyr::from_slice(answer).map_err(|_| Unusable::Rubbish)?,
        };
        if read.kind.is_some_and(|kind| kind != "ExecCredential") {
            return Err(Unusable::Rubbish);
        }
        let credential = read.status.ok_or(Unusable::Rubbish)?;
        let full = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let certificate =
            full(&credential.client_certificate_data) && full(&credential.client_key_data);
        if !full(&credential.token) && !certificate {
            return Err(Unusable::Empty);
        }
        let plain = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        if !credential.token.as_ref().is_none_or(plain) {
            return Err(Unusable::Token);
        }
        credential.expires()?;
        Ok(credential)
    }

    /// Returns when it expires, if that is known.
    pub(crate) fn expires(&self) -> Result<Option<Timestamp>, Unusable> {
        let expiration = self.expiration_timestamp.as_deref().filter(|text| !text.is_empty());
        expiration.map(str::parse).transpose().map_err(|_| Unusable::Expiration)
    }

    /// Lets `user` have this credential instead of its plug-in.
    pub(crate) fn give(self, user: &mut AuthInfo) {
        user.exec = None;
        user.token = self.token.filter(|token| !token.is_empty()).map(Into::into);
        let certificate = self.client_certificate_data.filter(|text| !text.is_empty());
        if let (Some(certificate), Some(key)) = (certificate, self.client_key_data) {
            user.client_certificate = None;
            user.client_key = None;
            user.client_certificate_data = Some(STANDARD.encode(certificate));
            user.client_key_data = Some(STANDARD.encode(key).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_or_a_certificate_replaces_the_plug_in() {
        let mut user = AuthInfo { exec: Some(<_>::default()), ..AuthInfo::default() };
        let yaml =
            "kind: ExecCredential\nstatus: {token: abc, expirationTimestamp: 2030-01-01T00:00:00Z}";
        let read = Credential::read(yaml.as_bytes()).ok().unwrap();
        assert_eq!(read.expires(), Ok(Some("2030-01-01T00:00:00Z".parse().unwrap())));
        read.give(&mut user);
        assert!(user.exec.is_none() && user.token.is_some());
        assert_eq!(user.client_certificate_data, None);

        let json = r#"{"status": {"clientCertificateData": "c", "clientKeyData": "k"}}"#;
        let mut user = AuthInfo::default();
        let read = Credential::read(json.as_bytes()).ok().unwrap();
        assert_eq!(read.expires(), Ok(None));
        read.give(&mut user);
        assert_eq!(user.client_certificate_data.as_deref(), Some("Yw=="));
        assert!(user.token.is_none() && user.client_key_data.is_some());
    }

    /// An answer without a login made every request anonymous, and the message was about
    /// permissions.
    #[test]
    fn an_answer_without_a_login_is_unusable() {
        for (answer, why) in [
            ("", Unusable::Rubbish),
            ("rubbish", Unusable::Rubbish),
            ("{}", Unusable::Rubbish),
            (r#"{"kind": "Status", "status": "Failure"}"#, Unusable::Rubbish),
            (r#"{"kind": "Secret", "status": {"token": "x"}}"#, Unusable::Rubbish),
            (r#"{"status": {}}"#, Unusable::Empty),
            (r#"{"status": {"token": ""}}"#, Unusable::Empty),
            (r#"{"status": {"clientCertificateData": "c"}}"#, Unusable::Empty),
            (r#"{"status": {"token": "two\nlines"}}"#, Unusable::Token),
            (r#"{"status": {"token": "x", "expirationTimestamp": "soon"}}"#, Unusable::Expiration),
        ] {
            assert_eq!(Credential::read(answer.as_bytes()).err(), Some(why), "{answer}");
        }
    }
}
