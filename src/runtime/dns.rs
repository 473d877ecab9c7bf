//! Names to addresses, without the C library.
//!
//! Here, below every room that dials, because a static binary has no `getaddrinfo`: names are looked up in the hosts
//! file and over DNS. A machine without `resolv.conf` still has its hosts file, and `localhost` needs neither.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hyper_util::client::legacy::connect::dns::Name;

/// Resolves names as the system's configuration says. Clones share their cache.
#[derive(Clone, Default)]
pub(crate) struct Resolver {
    /// Made when first needed, and anew after a failure: the configuration may have changed.
    current: Arc<Mutex<Option<TokioResolver>>>,
}

impl Resolver {
    fn resolver(&self, fresh: bool) -> io::Result<TokioResolver> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(resolver) if !fresh => Ok(resolver.clone()),
            _ => {
                let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
                    tracing::debug!(%error, "no DNS configuration, only the hosts file is used");
                    let empty = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
                    TokioResolver::builder_with_config(empty, TokioRuntimeProvider::default())
                });
                let options = builder.options_mut();
                options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
                // A node that is about to be started gets its name at any moment.
                options.negative_max_ttl = Some(Duration::from_secs(1));
                let resolver = builder.build().map_err(io::Error::other)?;
                *current = Some(resolver.clone());
                Ok(resolver)
            }
        }
    }

    /// The addresses of `name`, at least one.
    pub(crate) async fn lookup(self, name: &str) -> io::Result<Vec<IpAddr>> {
        let bare = name.trim_end_matches('.');
        if bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let found = match self.resolver(false)?.lookup_ip(name).await {
            Err(_) => self.resolver(true)?.lookup_ip(name).await,
            found => found,
        };
        let found: Vec<_> =
            found.map_err(|error| io::Error::other(format!("cannot resolve {name}: {error}")))?.iter().collect();
        if found.is_empty() { Err(io::Error::other(format!("no address for {name}"))) } else { Ok(found) }
    }
}

impl tower::Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            // The connector puts the port in.
            Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_and_literals_need_no_configuration() {
        let resolver = Resolver::default();
        assert_eq!(resolver.clone().lookup("localhost").await.unwrap()[0], Ipv4Addr::LOCALHOST);
        assert_eq!(resolver.clone().lookup("peer0.LOCALHOST.").await.unwrap()[0], Ipv4Addr::LOCALHOST);
        assert_eq!(resolver.clone().lookup("127.0.0.7").await.unwrap(), [Ipv4Addr::new(127, 0, 0, 7)]);
        assert!(resolver.current.lock().unwrap().is_none());
    }
}
