//! The API server, the controller manager and the scheduler.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::component::{Component, Group, expect};
use super::layout::Lab;
use super::process::Launch;
use super::{certificates, cluster, network, port};

pub(crate) struct ApiServer;
pub(crate) struct ControllerManager;
pub(crate) struct Scheduler;

impl Component for ApiServer {
    fn name(&self) -> &'static str {
        "apiserver"
    }

    fn group(&self) -> Group {
        Group::Kubernetes
    }

    fn needs(&self) -> &'static [&'static str] {
        &["build", "certificates", "etcd"]
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![network::API]
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        let policy = lab.etc("audit.yaml");
        lab.write(&policy, AUDIT_POLICY)?;
        let pki = |name| certificates::path(lab, name);
        let launch = Launch::new(self.program(lab))
            .flag("etcd-servers", format!("http://{}", network::ETCD))
            .flag("bind-address", network::API.ip().to_string())
            .flag("advertise-address", network::API.ip().to_string())
            .flag("secure-port", network::API.port().to_string())
            .flag("endpoint-reconciler-type", "none")
            .flag("service-cluster-ip-range", network::SERVICES)
            .flag("allow-privileged", "true")
            .flag("authorization-mode", "RBAC,Node")
            .flag("enable-admission-plugins", "NodeRestriction")
            .flag("audit-policy-file", policy)
            .flag("audit-log-path", lab.log("audit"))
            .flag("audit-log-maxsize", "100")
            .flag("audit-log-maxbackup", "1");
        Ok(launch
            .flag("cert-dir", pki(""))
            .flag("client-ca-file", pki("ca.crt"))
            .flag("tls-cert-file", pki("apiserver.crt"))
            .flag("tls-private-key-file", pki("apiserver.key"))
            .flag("token-auth-file", certificates::tokens(lab))
            .flag("service-account-issuer", "https://kubernetes.default.svc")
            .flag("service-account-key-file", pki("service-account.key"))
            .flag("service-account-signing-key-file", pki("service-account.key"))
            .flag("kubelet-client-certificate", pki("apiserver-kubelet.crt"))
            .flag("kubelet-client-key", pki("apiserver-kubelet.key"))
            .flag("kubelet-preferred-address-types", "InternalIP")
            // Tests change objects on admission, as the webhooks of service meshes do.
            .flag("feature-gates", "MutatingAdmissionPolicy=true")
            .flag("runtime-config", "admissionregistration.k8s.io/v1beta1=true"))
    }

    fn ready(&self, lab: &Lab) -> Result<()> {
        // Cheaper than running a client, which cannot work before the port is open.
        expect(port::accepts(network::API), "the API server's port is closed")?;
        cluster::kubectl(lab, ["get", "--raw=/readyz"]).map(drop)
    }

    fn program(&self, lab: &Lab) -> PathBuf {
        lab.bin("kube-apiserver")
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        format!("https://{}", network::API)
    }

    fn grace(&self) -> Duration {
        // It would wait a minute for watches to end, and has no data to save.
        Duration::from_secs(2)
    }
}

impl Component for ControllerManager {
    fn name(&self) -> &'static str {
        "controller-manager"
    }

    fn group(&self) -> Group {
        Group::Kubernetes
    }

    fn needs(&self) -> &'static [&'static str] {
        &["apiserver"]
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![network::CONTROLLER_MANAGER]
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        let pki = |name| certificates::path(lab, name);
        Ok(Launch::new(self.program(lab))
            .flag("kubeconfig", certificates::kubeconfig(lab, "controller-manager"))
            .flag("bind-address", network::CONTROLLER_MANAGER.ip().to_string())
            .flag("cert-dir", pki("controller-manager"))
            .flag("root-ca-file", pki("ca.crt"))
            .flag("service-account-private-key-file", pki("service-account.key"))
            .flag("use-service-account-credentials", "true")
            .flag("flex-volume-plugin-dir", lab.data("volume-plugins"))
            // Otherwise the first node and the first claim take up to 20 seconds.
            .flag("node-monitor-period", "1s")
            .flag("pvclaimbinder-sync-period", "1s")
            .flag("leader-elect", "false"))
    }

    fn ready(&self, _lab: &Lab) -> Result<()> {
        expect(port::accepts(network::CONTROLLER_MANAGER), "its port is closed")
    }

    fn program(&self, lab: &Lab) -> PathBuf {
        lab.bin("kube-controller-manager")
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        format!("https://{}", network::CONTROLLER_MANAGER)
    }
}

impl Component for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn group(&self) -> Group {
        Group::Kubernetes
    }

    fn needs(&self) -> &'static [&'static str] {
        &["apiserver"]
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![network::SCHEDULER]
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        let kubeconfig = certificates::kubeconfig(lab, "scheduler");
        Ok(Launch::new(self.program(lab))
            .flag("kubeconfig", &kubeconfig)
            .flag("authentication-kubeconfig", &kubeconfig)
            .flag("authorization-kubeconfig", &kubeconfig)
            .flag("bind-address", network::SCHEDULER.ip().to_string())
            .flag("cert-dir", certificates::path(lab, "scheduler"))
            .flag("leader-elect", "false"))
    }

    fn ready(&self, _lab: &Lab) -> Result<()> {
        expect(port::accepts(network::SCHEDULER), "its port is closed")
    }

    fn program(&self, lab: &Lab) -> PathBuf {
        lab.bin("kube-scheduler")
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        format!("https://{}", network::SCHEDULER)
    }
}

/// Logs a line for each request that is not the cluster's own, so that a test can
/// count the requests of a job.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    userGroups: [system:nodes, system:lab, 'system:serviceaccounts:kube-system']
  - level: None
    users: [system:apiserver]
  - level: Metadata
";
