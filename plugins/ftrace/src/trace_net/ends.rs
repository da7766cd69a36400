//! The two ends of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::libc;
use trace_hook_api::{EventLine, Result};
use tracefs::format::Field;
use tracefs_session::Record;

use crate::tracepoint::Layout;

/// The addresses and ports of a socket and of whom it talks to.
///
/// An IPv4 address is one, also where a socket for IPv6 has it (`::ffff:127.0.0.1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// Where a record has the two ends (`include/trace/events/sock.h` and `tcp.h`).
pub struct EndsFields {
    family: Field,
    local: AddressFields,
    remote: AddressFields,
}

struct AddressFields {
    v4: Field,
    v6: Field,
    port: Field,
}

impl Ends {
    pub fn show<'a>(&self, line: EventLine<'a>) -> EventLine<'a> {
        line.word("local", &self.local.to_string()).word("remote", &self.remote.to_string())
    }
}

impl EndsFields {
    pub fn new(layout: &Layout) -> Result<Self> {
        let address = |address: &str, port: &str| -> Result<AddressFields> {
            let v6 = layout.field(&format!("{address}_v6"))?;
            Ok(AddressFields { v4: layout.field(address)?, v6, port: layout.field(port)? })
        };
        let (local, remote) = (address("saddr", "sport")?, address("daddr", "dport")?);
        Ok(Self { family: layout.field("family")?, local, remote })
    }

    /// `None`: the socket is of another family than IPv4 and IPv6.
    pub fn read(&self, record: &Record<'_>) -> Option<Ends> {
        let family = self.family(record);
        Some(Ends { local: self.local.read(family, record)?, remote: self.remote.read(family, record)? })
    }

    /// The number of an address family (address_families(7)).
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
