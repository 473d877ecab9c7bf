//! Loopback addresses for nodes that must be told their port before they start.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A loopback address that the system has given out: kept bound, so that nobody else gets it, until its owner starts.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    reservation: Option<TcpListener>,
}

impl Port {
    /// Takes a free port.
    pub fn reserve() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        Self { address: listener.local_addr().expect("a bound address"), reservation: Some(listener) }
    }

    /// Gives the port up: call it just before its owner starts.
    pub fn release(&mut self) {
        self.reservation = None;
    }

    /// The address, whoever listens there.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number alone.
    pub fn number(&self) -> u16 {
        self.address.port()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)
    }
}
