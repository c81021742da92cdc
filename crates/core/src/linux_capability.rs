//! The names of Linux capabilities.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// The capabilities of a container to which nothing was added: the same list in Docker, containerd
/// and CRI-O. AUDIT_WRITE, MKNOD and SETFCAP are in Docker's list, and the Pod Security Standard
/// `baseline` allows them.
const DEFAULT: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Every other capability (<https://man7.org/linux/man-pages/man7/capabilities.7.html>).
const OTHERS: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// A Linux capability in Kubernetes' spelling, which is without `CAP_`, or `ALL` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinuxCapability(&'static str);

crate::serde_as_text!(LinuxCapability);

/// The error for text that is not the name of a capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Linux capability: use a name such as NET_ADMIN, or ALL")]
pub struct LinuxCapabilityError(String);

impl LinuxCapability {
    /// All capabilities.
    pub const ALL: Self = Self("ALL");

    /// Returns the name, without `CAP_`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Returns whether the Pod Security Standard `baseline` allows to add this capability: a
    /// container has it by default, on some runtime at least.
    #[must_use]
    pub fn is_default(self) -> bool {
        DEFAULT.contains(&self.0)
    }
}

impl FromStr for LinuxCapability {
    type Err = LinuxCapabilityError;

    fn from_str(text: &str) -> Result<Self, LinuxCapabilityError> {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == Self::ALL.0 {
            return Ok(Self::ALL);
        }
        let known = DEFAULT.iter().chain(OTHERS).find(|known| **known == name);
        known.map(|known| Self(known)).ok_or_else(|| LinuxCapabilityError(text.to_owned()))
    }
}

impl fmt::Display for LinuxCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for LinuxCapability {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LinuxCapability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = [Self::ALL.0].iter().chain(DEFAULT).chain(OTHERS).copied().collect();
        schemars::json_schema!({ "description": "A Linux capability, or all of them.", "enum": names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_read_as_kubernetes_and_as_docker_spell_it() {
        for text in ["NET_ADMIN", "CAP_NET_ADMIN", "net_admin"] {
            assert_eq!(text.parse::<LinuxCapability>().unwrap().as_str(), "NET_ADMIN");
        }
        assert_eq!("all".parse(), Ok(LinuxCapability::ALL));
        assert!("NET_ADMN".parse::<LinuxCapability>().is_err());
        assert_eq!(DEFAULT.len() + OTHERS.len(), 41, "as many as Linux has");
    }
}
