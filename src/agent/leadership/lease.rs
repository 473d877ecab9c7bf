//! The record as a Lease of Kubernetes.
//!
//! A module of its own because it is there with the feature `kubernetes` only. The server refuses a change of a Lease
//! that has changed since it was read, so a claim that succeeds needs no second look. Names are looked up without the C
//! library, as everywhere.
//!
//! Source: `coordination.k8s.io/v1`, and the fields as `client-go` fills them.

use std::io;
use std::time::Duration;

use hyper::Uri;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::client::ClientBuilder;
use kube::config::Config;

use super::election::Record;
use crate::agent::config::KubernetesLease;
use crate::runtime::dns::Resolver;

/// A Lease, and the server that keeps it.
pub(super) struct LeaseRecord {
    settings: KubernetesLease,
    resolver: Resolver,
    /// Made when it is first needed, and anew after a failure.
    api: Option<Api<Lease>>,
    /// As it was read last.
    seen: Option<Lease>,
}

impl std::fmt::Debug for LeaseRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseRecord").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl LeaseRecord {
    pub(super) fn new(settings: KubernetesLease) -> Self {
        Self { settings, resolver: Resolver::default(), api: None, seen: None }
    }

    pub(super) async fn read(&mut self) -> io::Result<Option<Record>> {
        let api = self.api().await?;
        let found = match api.get(&self.settings.name).await {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            found => Some(self.judge(found)?),
        };
        self.seen = found;
        Ok(self.seen.as_ref().map(record))
    }

    /// Writes the record over the one that was read; `None` when somebody else was faster.
    pub(super) async fn write(&mut self, holder: &str, lease: Duration) -> io::Result<Option<Record>> {
        let api = self.api().await?;
        let now = MicroTime(Timestamp::now());
        let mut wanted = self.seen.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        let spec = wanted.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_deref() != Some(holder) {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(-1).saturating_add(1).max(0));
        }
        spec.holder_identity = Some(holder.to_owned());
        spec.lease_duration_seconds = Some(i32::try_from(lease.as_millis().div_ceil(1000)).unwrap_or(i32::MAX));
        spec.renew_time = Some(now);
        let parameters = PostParams::default();
        let written = match &self.seen {
            None => api.create(&parameters, &wanted).await,
            Some(_) => api.replace(&self.settings.name, &parameters, &wanted).await,
        };
        // 409: it changed, or was made, since it was read.
        if matches!(&written, Err(kube::Error::Api(status)) if status.code == 409) {
            return Ok(None);
        }
        let written = self.judge(written)?;
        let record = record(&written);
        self.seen = Some(written);
        Ok(Some(record))
    }

    fn judge<T>(&mut self, answer: Result<T, kube::Error>) -> io::Result<T> {
        answer.map_err(|error| {
            if !matches!(error, kube::Error::Api(_)) {
                self.api = None;
            }
            io::Error::other(format!("Lease {}: {error}", self.settings.name))
        })
    }

    async fn api(&mut self) -> io::Result<Api<Lease>> {
        if let Some(api) = &self.api {
            return Ok(api.clone());
        }
        let credentials = &self.settings.credentials;
        let namespace = if let Some(namespace) = &self.settings.namespace {
            namespace.clone()
        } else {
            let file = credentials.join("namespace");
            let read = crate::runtime::blocking(move || {
                std::fs::read_to_string(&file)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
            });
            read.await?.trim().to_owned()
        };
        let (url, server_name) = self.address().await?;
        let mut config = Config::new(url);
        config.tls_server_name = server_name;
        config.default_retry = false;
        let (authority, token) = (credentials.join("ca.crt"), credentials.join("token"));
        if crate::runtime::blocking({
            let authority = authority.clone();
            move || authority.exists()
        })
        .await
        {
            config.root_cert_file = Some(authority);
        }
        if crate::runtime::blocking({
            let token = token.clone();
            move || token.exists()
        })
        .await
        {
            // Read again now and then by the client, since such tokens are replaced.
            config.auth_info.token_file = Some(token.to_string_lossy().into_owned());
        }
        let builder = ClientBuilder::try_from(config).map_err(io::Error::other)?;
        let api: Api<Lease> = Api::namespaced(builder.build(), &namespace);
        self.api = Some(api.clone());
        Ok(api)
    }

    /// The server's address with its host's name looked up, and that name where there was one.
    async fn address(&self) -> io::Result<(Uri, Option<String>)> {
        let wrong = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", self.settings.api));
        let uri: Uri = self.settings.api.parse().map_err(|error| wrong(&error))?;
        let host = uri.host().ok_or_else(|| wrong(&"no host"))?.to_owned();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<std::net::IpAddr>().is_ok() {
            return Ok((uri, None));
        }
        let found = self.resolver.clone().lookup(&host).await?;
        let address = found.first().ok_or_else(|| wrong(&"no address"))?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let authority = std::net::SocketAddr::new(*address, port).to_string();
        let mut parts = uri.into_parts();
        parts.authority = Some(authority.parse().map_err(|error| wrong(&error))?);
        Ok((Uri::from_parts(parts).map_err(|error| wrong(&error))?, Some(host)))
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let renewed = spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        stamp: format!("{renewed} {}", spec.lease_transitions.unwrap_or_default()),
        lease: spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests;
