//! An engine that is reached through TLS, with certificates on both sides.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use longshore_core::{ErrorKind, Runner, RunnerName};
use longshore_docker::{DockerConfig, DockerRunner};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::support::Lab;
use crate::{Checked, attempt, end, launch, output};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Returns a certificate for `name`, and its key.
    fn sign(&self, name: &str) -> Result<(rcgen::Certificate, KeyPair)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec![name.to_owned()])?;
        Ok((params.signed_by(&key, &self.0)?, key))
    }

    /// Writes what a client has that trusts this authority, and that `signer` has signed.
    fn client(&self, folder: &Path, signer: Option<&Self>) -> Result<()> {
        std::fs::create_dir(folder)?;
        std::fs::write(folder.join("ca.pem"), self.0.pem())?;
        if let Some(signer) = signer {
            let (certificate, key) = signer.sign("client")?;
            std::fs::write(folder.join("cert.pem"), certificate.pem())?;
            std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
        }
        Ok(())
    }

    /// Opens a port with a certificate of this authority, in front of the engine. It demands such a
    /// certificate of each client.
    async fn serve(&self) -> Result<SocketAddr> {
        let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
        let engine = PathBuf::from(engine.trim_start_matches("unix://"));
        let (certificate, key) = self.sign("127.0.0.1")?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone())?;
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients.build()?)
            .with_single_cert(vec![certificate.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, engine) = (acceptor.clone(), engine.clone());
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await?;
                    let mut server = UnixStream::connect(engine).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Ok(address)
    }
}

fn runner(address: SocketAddr, certificates: &Path) -> DockerRunner {
    let mut config = DockerConfig::default();
    config.host = Some(format!("tcp://{address}"));
    config.tls_verify = Some(true);
    config.cert_path = Some(certificates.to_owned());
    DockerRunner::new(RunnerName::docker(), config)
}

pub(crate) async fn a_job_runs_on_an_engine_that_demands_a_certificate(lab: Lab) -> Checked {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new("engine")?;
    let certificates = folder.path().join("client");
    authority.client(&certificates, Some(&authority))?;
    let runner = runner(authority.serve().await?, &certificates);
    runner.probe().await?;
    let attempt = attempt(&lab, "echo out; echo err >&2; exit 3");
    let handle = launch(&runner, &attempt).await?;
    let (text, report) = (output(&runner, &handle).await?, end(&runner, &handle).await?);
    runner.remove(&handle).await?;
    assert_eq!(report.outcome.exit_code(), 3);
    assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
    Ok(())
}

pub(crate) async fn certificates_that_do_not_suit_are_named(_: Lab) -> Checked {
    let folder = tempfile::tempdir()?;
    let (authority, other) = (Authority::new("engine")?, Authority::new("other")?);
    let address = authority.serve().await?;
    let client = |name: &str| folder.path().join(name);
    other.client(&client("other authority"), Some(&authority))?;
    authority.client(&client("no certificate"), None)?;
    authority.client(&client("stranger"), Some(&other))?;
    authority.client(&client("key for authority"), Some(&authority))?;
    std::fs::copy(
        client("key for authority").join("key.pem"),
        client("key for authority").join("ca.pem"),
    )?;
    authority.client(&client("no authority"), Some(&authority))?;
    std::fs::remove_file(client("no authority").join("ca.pem"))?;
    for (name, words) in [
        ("other authority", "invalid peer certificate: UnknownIssuer"),
        ("no certificate", "CertificateRequired"),
        ("stranger", "UnknownCA"),
        ("key for authority", "ca.pem: it has no certificate in PEM"),
        ("no authority", "ca.pem"),
    ] {
        let error = runner(address, &client(name)).probe().await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error:?}");
        let said = error.to_string();
        assert!(said.contains(words) && said.contains(&address.to_string()), "{name}: {said}");
        assert!(!said.contains("PRIVATE"), "{said}");
    }
    Ok(())
}
