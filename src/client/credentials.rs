//! What a client shows to nodes: the identity that signs, and its TLS certificate.
//!
//! A module of its own because both can be renewed while the client lives, and both expire: an expired one is an error of
//! our own, before a node says so in words of its own. What goes into one message is taken from one of these, so that no
//! message is signed by another key than it names.

use std::sync::Arc;

use super::gateway::{ClientError, now};
use super::net::ClientTls;
use crate::fabric::identity::{Certificate, Creator, SignError, Signer};

/// How long before its end a certificate is worth a warning: a week, in seconds.
const SOON: i64 = 7 * 24 * 60 * 60;

/// What [`Client::renew`](super::Client::renew) found to be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Renewed {
    /// The identity or the client's TLS certificate.
    pub credentials: bool,
    /// So many connections are made otherwise from now on.
    pub connections: usize,
    /// The profile names other nodes, or nodes at other addresses: only a new client knows those.
    pub needs_new_client: bool,
}

/// What is shown to nodes.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) client_tls: Option<Arc<ClientTls>>,
    lifetimes: Vec<Lifetime>,
}

/// Until when a certificate can be used.
#[derive(Debug, Clone)]
struct Lifetime {
    what: &'static str,
    subject: String,
    not_after: i64,
    expiry: String,
}

impl Credentials {
    pub(super) fn new(signer: Arc<dyn Signer>, client_tls: Option<Arc<ClientTls>>) -> Self {
        let identity = Creator::decode(signer.creator())
            .ok()
            .and_then(|creator| Certificate::from_pem(&creator.certificate_pem).ok())
            .map(|certificate| Lifetime {
                what: "certificate",
                subject: certificate.subject().to_owned(),
                not_after: certificate.not_after(),
                expiry: certificate.expiry().to_owned(),
            });
        let tls = client_tls.as_ref().map(|tls| Lifetime {
            what: "TLS client certificate",
            subject: tls.subject().to_owned(),
            not_after: tls.not_after(),
            expiry: tls.expiry().to_owned(),
        });
        Self { signer, client_tls, lifetimes: identity.into_iter().chain(tls).collect() }
    }

    /// Whether they can be used at all, with a warning when not for long.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        for Lifetime { what, subject, not_after, expiry } in &self.lifetimes {
            let what = *what;
            if *not_after < now().seconds {
                return Err(ClientError::Expired { what, subject: subject.clone(), not_after: expiry.clone() });
            }
            if *not_after < now().seconds + SOON {
                tracing::warn!(what, subject, expiry, "certificate expires soon");
            }
        }
        Ok(())
    }

    /// A client may outlive its certificates.
    pub(super) fn check_lifetime(&self) -> Result<(), SignError> {
        match self.lifetimes.iter().find(|lifetime| lifetime.not_after < now().seconds) {
            Some(Lifetime { subject, expiry, .. }) => {
                Err(SignError::Expired { subject: subject.clone(), not_after: expiry.clone() })
            }
            None => Ok(()),
        }
    }

    /// Whether nodes see the same. The key belongs to the certificate.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.signer.creator() == other.signer.creator() && self.client_tls == other.client_tls
    }
}
