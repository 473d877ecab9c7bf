//! The settings of several replicas of one organization's agent.

use std::path::PathBuf;
use std::time::Duration;

use super::variables::{self, Variables};

const LOCK_FILE: &str = "LEADER_LOCK_FILE";
const LEASE: &str = "LEADER_LEASE";
const LEASE_TIME: &str = "LEADER_LEASE_TIME";

/// A Lease of Kubernetes (ours).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesLease {
    /// `LEADER_LEASE`: its name.
    pub name: String,
    /// `LEADER_LEASE_NAMESPACE`: where it is; else where the agent's own pod is.
    pub namespace: Option<String>,
    /// `KUBERNETES_API`: the server; else the one that Kubernetes names to every pod.
    pub api: String,
    /// `KUBERNETES_CREDENTIALS`: a folder with `token`, `ca.crt` and `namespace`, as every pod has.
    pub credentials: PathBuf,
}

/// Whether there are other replicas, and how it is settled which of them acts (ours).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas {
    /// `LEADER_LOCK_FILE`: a file on storage that the replicas share. Without it, this one always acts.
    pub lock_file: Option<PathBuf>,
    /// `LEADER_LEASE`: a Lease of Kubernetes instead.
    pub lease: Option<KubernetesLease>,
    /// `LEADER_IDENTITY`: by what name the others see this replica; else the host's name.
    pub identity: String,
    /// `LEADER_LEASE_TIME`: after how long without a sign another takes over.
    pub lease_time: Duration,
}

impl Replicas {
    pub(super) fn read(read: &mut Variables<'_>) -> Self {
        let lease_time = read.parsed(LEASE_TIME, "10s", "use a time from 1s to 1m", |text| {
            let time = variables::duration(text)?;
            if (Duration::from_secs(1)..=Duration::from_mins(1)).contains(&time) {
                Ok(time)
            } else {
                Err("it is too short or too long".to_owned())
            }
        });
        let lock_file = read.optional_path(LOCK_FILE);
        let lease = lease(read);
        if lock_file.is_some() && lease.is_some() {
            read.problem(LEASE, format!("there is a {LOCK_FILE} too"), "set only one of the two");
        }
        Self {
            lock_file,
            lease,
            identity: read.text("LEADER_IDENTITY").unwrap_or_else(|| {
                let host = read.unlisted("HOSTNAME").and_then(|host| host.into_string().ok());
                host.unwrap_or_else(|| "agent".to_owned())
            }),
            lease_time: lease_time.unwrap_or(Duration::from_secs(10)),
        }
    }
}

fn lease(read: &mut Variables<'_>) -> Option<KubernetesLease> {
    let name = read.parsed(LEASE, "", "use a name of lower-case letters, digits and dashes", |text| {
        let is_good = text.len() <= 253
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
        if is_good { Ok(text.to_owned()) } else { Err("it is no name of Kubernetes".to_owned()) }
    });
    let namespace = read.text("LEADER_LEASE_NAMESPACE");
    let api = read.parsed("KUBERNETES_API", "", "use https://host:port", |text| {
        if text.starts_with("https://") || text.starts_with("http://") {
            Ok(text.to_owned())
        } else {
            Err("it is not the address of a server".to_owned())
        }
    });
    let credentials = read.path("KUBERNETES_CREDENTIALS", "/var/run/secrets/kubernetes.io/serviceaccount");
    let pod = |name: &str| read.unlisted(name).and_then(|value| value.into_string().ok());
    let api = api.or_else(|| {
        let host = pod("KUBERNETES_SERVICE_HOST")?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(format!("https://{host}:{}", pod("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned())))
    });
    let name = name?;
    if !cfg!(feature = "kubernetes") {
        read.problem(LEASE, "this program is built without Kubernetes", "use LEADER_LOCK_FILE");
    }
    let Some(api) = api else {
        read.problem(LEASE, "this is no pod of Kubernetes", "name the server by KUBERNETES_API");
        return None;
    };
    Some(KubernetesLease { name, namespace, api, credentials })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::SettingsError;

    fn read(pairs: &[(&str, &str)]) -> Result<Replicas, String> {
        let lookup = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let mut variables = Variables::new(&lookup);
        let read = Replicas::read(&mut variables);
        let problems = variables.finish().0;
        if problems.is_empty() { Ok(read) } else { Err(SettingsError::new(problems).to_string()) }
    }

    #[test]
    fn a_pod_knows_its_server() {
        let alone = read(&[("HOSTNAME", "pod-1")]).unwrap();
        assert_eq!((alone.lock_file, alone.lease, alone.identity.as_str()), (None, None, "pod-1"));
        let pod =
            [("LEADER_LEASE", "opssc"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "6443")];
        let lease = read(&pod).unwrap().lease.unwrap();
        assert_eq!((lease.api.as_str(), lease.namespace), ("https://10.0.0.1:6443", None));
        let named =
            [("LEADER_LEASE", "opssc"), ("KUBERNETES_API", "https://api"), ("KUBERNETES_SERVICE_HOST", "fd00::1")];
        assert_eq!(read(&named).unwrap().lease.unwrap().api, "https://api");
        for (wrong, name) in [
            (&[("LEADER_LEASE", "opssc")][..], "KUBERNETES_API"),
            (&[("LEADER_LEASE", "Opssc"), ("KUBERNETES_API", "https://api")], "LEADER_LEASE"),
            (&[("LEADER_LEASE", "a"), ("KUBERNETES_API", "https://api"), ("LEADER_LOCK_FILE", "/a")], "only one"),
            (&[("KUBERNETES_API", "api")], "KUBERNETES_API"),
            (&[("LEADER_LEASE_TIME", "10ms")], "LEADER_LEASE_TIME"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
