//! The two endpoints of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::libc;
use trace_hook_api::{EventLine, Result};
use tracefs::format::Field;
use tracefs_session::Record;

use crate::tracepoint::Layout;

/// The local and the remote address and port of a socket.
///
/// IPv4-mapped addresses of IPv6 sockets (`::ffff:127.0.0.1`) are converted to IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// The fields of a record that have the two endpoints (`include/trace/events/sock.h` and `tcp.h`).
pub struct EndpointFields {
    family: Field,
    local: AddressFields,
    remote: AddressFields,
}

struct AddressFields {
    v4: Field,
    v6: Field,
    port: Field,
}

impl Endpoints {
    pub fn show<'a>(&self, line: EventLine<'a>) -> EventLine<'a> {
        line.word("local", &self.local.to_string()).word("remote", &self.remote.to_string())
    }
}

impl EndpointFields {
    pub fn new(layout: &Layout) -> Result<Self> {
        let address = |address: &str, port: &str| -> Result<AddressFields> {
            let v6 = layout.field(&format!("{address}_v6"))?;
            Ok(AddressFields { v4: layout.field(address)?, v6, port: layout.field(port)? })
        };
        let (local, remote) = (address("saddr", "sport")?, address("daddr", "dport")?);
        Ok(Self { family: layout.field("family")?, local, remote })
    }

    /// `None` if the socket is neither IPv4 nor IPv6.
    pub fn read(&self, record: &Record<'_>) -> Option<Endpoints> {
        let family = self.family(record);
        Some(Endpoints { local: self.local.read(family, record)?, remote: self.remote.read(family, record)? })
    }

    /// The number of the address family (address_families(7)).
    pub fn family(&self, record: &Record<'_>) -> u64 {
        record.number(&self.family) as u64
    }
}

impl AddressFields {
    fn read(&self, family: u64, record: &Record<'_>) -> Option<SocketAddr> {
        let address: IpAddr = match i32::try_from(family).ok()? {
            libc::AF_INET => Ipv4Addr::from(bytes::<4>(record, &self.v4)?).into(),
            libc::AF_INET6 => Ipv6Addr::from(bytes::<16>(record, &self.v6)?).to_canonical(),
            _ => return None,
        };
        Some(SocketAddr::new(address, record.number(&self.port) as u16))
    }
}

fn bytes<const LENGTH: usize>(record: &Record<'_>, field: &Field) -> Option<[u8; LENGTH]> {
    field.bytes(record.data())?.try_into().ok()
}

/// Whether a socket that listens at one address accepts connections to another.
pub fn matches_listener(listener: SocketAddr, local: SocketAddr) -> bool {
    let matches_ip = match listener.ip() {
        // `::` accepts both families.
        ip if ip.is_unspecified() => listener.is_ipv6() || local.is_ipv4(),
        ip => ip == local.ip(),
    };
    matches_ip && listener.port() == local.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_ipv6_address_matches_both_families() {
        let matches =
            |listener: &str, local: &str| matches_listener(listener.parse().unwrap(), local.parse().unwrap());
        assert!(matches("[::]:80", "1.2.3.4:80") && matches("[::]:80", "[fe80::1]:80"));
        assert!(matches("0.0.0.0:80", "1.2.3.4:80") && !matches("0.0.0.0:80", "[fe80::1]:80"));
        assert!(!matches("[::]:80", "1.2.3.4:81") && !matches("1.2.3.4:80", "1.2.3.5:80"));
    }
}
