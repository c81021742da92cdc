//! The tenants of the service: who they are, and what their jobs may ask for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use longshore::config::{ConfigError, read_document};
use longshore::dispatch::SpecPolicy;
use schemars::JsonSchema;
use serde::Deserialize;

/// The file that lists the tenants.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listed {
    tenants: Vec<Tenant>,
}

/// A tenant of the service.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    pub name: String,
    /// What the tenant sends as `Authorization: Bearer TOKEN`.
    token: String,
    /// What its jobs may ask for. By default: a container, and nothing of the service's own.
    #[serde(default)]
    pub policy: SpecPolicy,
}

/// The tenants by their tokens.
#[derive(Clone)]
pub struct Tenants(Arc<HashMap<String, Arc<Tenant>>>);

impl Tenants {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let listed: Listed = read_document(path)?;
        let by_token = listed.tenants.into_iter().map(|it| (it.token.clone(), Arc::new(it)));
        Ok(Self(Arc::new(by_token.collect())))
    }
}

/// The tenant that makes a request. A request without a known token is refused.
pub struct Caller(pub Arc<Tenant>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let value = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer "));
        let tenants = parts.extensions.get::<Tenants>();
        let tenant = tenants.zip(token).and_then(|(tenants, token)| tenants.0.get(token));
        tenant.cloned().map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}
