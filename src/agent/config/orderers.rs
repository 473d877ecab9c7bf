//! The settings by which the own orderers are administered.
//!
//! A module of its own because they belong together: endpoints and certificates are of use only with one another.

use std::path::PathBuf;

use crate::client::net::{ClientTls, Endpoint, Tls};
use crate::client::participation::{OrdererAdmin, TlsFiles};

use super::variables::{Problem, SettingsError, Variables};
use crate::agent::text;

const ENDPOINTS: &str = "ORDERER_ADMIN_ENDPOINTS";
const CERT: &str = "ORDERER_ADMIN_TLS_CERT";
const KEY: &str = "ORDERER_ADMIN_TLS_KEY";
const CA: &str = "ORDERER_ADMIN_TLS_CA";

/// Where the own orderers are administered (ours). Empty for organizations without orderers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrdererAdministration {
    /// `ORDERER_ADMIN_ENDPOINTS`: `host:port`, separated by commas.
    pub endpoints: Vec<String>,
    /// `ORDERER_ADMIN_TLS_CA`: the authorities of the orderers' certificates, in PEM. Without it no TLS is spoken.
    pub ca: Option<PathBuf>,
    /// `ORDERER_ADMIN_TLS_CERT` and `ORDERER_ADMIN_TLS_KEY`: the certificate that the orderers ask for, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl OrdererAdministration {
    pub(super) fn read(read: &mut Variables<'_>) -> Self {
        let endpoints =
            read.parsed(ENDPOINTS, "", "use host:port, several separated by commas", endpoints).unwrap_or_default();
        let mut file = |name| read.text(name).map(PathBuf::from);
        let (cert, key, ca) = (file(CERT), file(KEY), file(CA));
        if cert.is_some() != key.is_some() {
            let (absent, given) = if cert.is_some() { (KEY, CERT) } else { (CERT, KEY) };
            read.problem(absent, format!("it is not set, but {given} is"), "set both or none");
        } else if cert.is_some() && ca.is_none() {
            read.problem(
                CA,
                format!("it is not set, but {CERT} is"),
                "name the authorities of the orderers' certificates",
            );
        }
        Self { endpoints, ca, client: cert.zip(key) }
    }

    /// Opens what the settings name. Reaches for no orderer yet. The files are read again whenever they have changed.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem.
    pub fn open(&self) -> Result<Vec<OrdererAdmin>, SettingsError> {
        let mut problems = Vec::new();
        let mut file = |variable: &'static str, path: &PathBuf| {
            std::fs::read(path)
                .map_err(|error| {
                    problems.push(Problem {
                        variable,
                        what: format!("{} cannot be read: {error}", path.display()),
                        remedy: "name a file in PEM".to_owned(),
                    });
                })
                .ok()
        };
        let roots = self.ca.as_ref().map(|path| file(CA, path));
        let client = self.client.as_ref().map(|(cert, key)| (file(CERT, cert), file(KEY, key)));
        let client = match client {
            Some((Some(cert), Some(key))) => match ClientTls::new(cert, key) {
                Ok(client) => Some(std::sync::Arc::new(client)),
                Err(error) => {
                    problems.push(Problem {
                        variable: CERT,
                        what: text::chain(&error),
                        remedy: format!("name a certificate in PEM, and its key by {KEY}"),
                    });
                    None
                }
            },
            _ => None,
        };
        let tls = roots.map(|roots| Tls { roots: roots.unwrap_or_default().into(), client });
        if !problems.is_empty() {
            return Err(SettingsError::new(problems));
        }
        let mut opened = Vec::new();
        for address in &self.endpoints {
            let endpoint = Endpoint { address: address.clone(), tls: tls.clone(), server_name: None };
            let files = self.ca.clone().map(|ca| TlsFiles { ca, client: self.client.clone() });
            let opened_one = match files {
                Some(files) => OrdererAdmin::with_files(address.as_str(), &endpoint, files),
                None => OrdererAdmin::new(address.as_str(), &endpoint),
            };
            match opened_one {
                Ok(admin) => opened.push(admin),
                Err(error) => problems.push(Problem {
                    variable: ENDPOINTS,
                    what: text::chain(&error),
                    remedy: format!("use host:port, and authorities in PEM by {CA}"),
                }),
            }
        }
        if problems.is_empty() { Ok(opened) } else { Err(SettingsError::new(problems)) }
    }
}

fn endpoints(list: &str) -> Result<Vec<String>, String> {
    let mut endpoints = Vec::new();
    for endpoint in list.split(',').map(str::trim) {
        let is_good = endpoint.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !is_good {
            return Err(format!("{:?} is not host:port", text::bounded(endpoint, 80)));
        }
        if !endpoints.iter().any(|known| known == endpoint) {
            endpoints.push(endpoint.to_owned());
        }
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<OrdererAdministration, String> {
        let lookup = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let mut variables = Variables::new(&lookup);
        let read = OrdererAdministration::read(&mut variables);
        let problems = variables.finish().0;
        if problems.is_empty() { Ok(read) } else { Err(SettingsError::new(problems).to_string()) }
    }

    #[test]
    fn endpoints_are_a_list_without_repeats() {
        assert_eq!(read(&[]).unwrap(), OrdererAdministration::default());
        let read_list = |list| read(&[(ENDPOINTS, list)]).map(|read| read.endpoints);
        assert_eq!(read_list("a:1, [::1]:2,a:1").unwrap(), ["a:1", "[::1]:2"]);
        for wrong in ["a", "a:", ":1", "a:0", "a:1,", "https://a:1", "a:70000"] {
            let error = read_list(wrong).unwrap_err();
            assert!(error.contains(ENDPOINTS) && error.contains("host:port"), "{error}");
        }
    }

    #[test]
    fn certificates_belong_together() {
        assert!(read(&[(CERT, "c")]).unwrap_err().contains(KEY));
        assert!(read(&[(KEY, "k")]).unwrap_err().contains(CERT));
        assert!(read(&[(CERT, "c"), (KEY, "k")]).unwrap_err().contains(CA));
        let error = read(&[(ENDPOINTS, "a:1"), (CA, "/nowhere/ca.pem")]).unwrap().open().unwrap_err().to_string();
        assert!(error.contains(CA) && error.contains("/nowhere/ca.pem"), "{error}");
        assert_eq!(read(&[(ENDPOINTS, "a:1,b:2")]).unwrap().open().unwrap().len(), 2);
    }
}
