//! Free TCP ports.
//!
//! Owns the trick of asking the kernel for port 0. Refuses to promise anything:
//! until the daemon binds a port, another process can take it. The start as a
//! whole is repeated then, by [`builder`](crate::builder).

use std::net::{Ipv4Addr, TcpListener};

use crate::error::Error;

/// Ports of the loopback address that are free now, all different.
pub(crate) fn free<const N: usize>() -> Result<[u16; N], Error> {
    let mut ports = [0; N];
    // All are held until the last is known, else one could come twice.
    let mut listeners = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::Port)?;
        *port = listener.local_addr().map_err(Error::Port)?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
