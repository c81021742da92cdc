//! Images: their names, when they are pulled, and the logins for their registries.

pub use longshore_core::{
    ImageReason, ImageRef, ImageRefError, ImageReport, LocalImage, PullPolicies, PullPoliciesError,
    PullPolicy, PullPolicyError, RegistryAuth, RegistryIdentity, RegistryLogin,
};
pub use longshore_dispatch::{
    EffectivePullPolicy, ImageGlob, ImageGlobError, ImagePreview, ImagePullPolicyRule,
    ImageRegistryPrefix, ImageRegistryPrefixError, LoginName, PullPolicyOrigin, RunnerImage,
};
pub use longshore_registry::{Found, InvalidLogin, Keyring};

pub use crate::pull_policies::pull_policy_key;
