//! Addresses of sockets: `struct sockaddr`.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use nix::libc;
use trace_hook_api::Composite;
use trace_syscalls::{ADDRESS_FAMILIES, constant_name};

use super::bytes::unsigned;

/// The address in these bytes.
pub fn of(bytes: &[u8]) -> Composite<'_> {
    let Some((family, rest)) = bytes.split_at_checked(2) else { return Composite::text(bytes) };
    let family = unsigned(family);
    let mut fields = vec![("sa_family".into(), Composite::Word(constant_name(family, ADDRESS_FAMILIES)))];
    let specific = match family as i32 {
        libc::AF_INET => internet(rest),
        libc::AF_INET6 => internet_6(rest),
        libc::AF_UNIX => unix(rest),
        libc::AF_NETLINK => netlink(rest),
        _ => None,
    };
    fields.extend(specific.unwrap_or_else(|| vec![("sa_data".into(), Composite::text(rest))]));
    Composite::Fields { fields, is_cut: false }
}

type Fields<'a> = Option<Vec<(Cow<'a, str>, Composite<'a>)>>;

fn internet(rest: &[u8]) -> Fields<'static> {
    let address: [u8; 4] = rest.get(2..6)?.try_into().ok()?;
    Some(vec![
        ("sin_port".into(), Composite::Number(port(rest)?)),
        ("sin_addr".into(), Composite::text(Ipv4Addr::from(address).to_string().into_bytes())),
    ])
}

fn internet_6(rest: &[u8]) -> Fields<'static> {
    let address: [u8; 16] = rest.get(6..22)?.try_into().ok()?;
    let flow: [u8; 4] = rest.get(2..6)?.try_into().ok()?;
    let scope = rest.get(22..26).map_or(0, unsigned);
    Some(vec![
        ("sin6_port".into(), Composite::Number(port(rest)?)),
        ("sin6_flowinfo".into(), Composite::Number(u32::from_be_bytes(flow).into())),
        ("sin6_addr".into(), Composite::text(Ipv6Addr::from(address).to_string().into_bytes())),
        ("sin6_scope_id".into(), Composite::Number(scope.into())),
    ])
}

/// A path, or a name that begins with `@` in the abstract namespace.
fn unix(rest: &[u8]) -> Fields<'_> {
    Some(vec![("sun_path".into(), Composite::Text { bytes: unix_name(rest), is_cut: false })])
}

/// The name of a unix socket, as ss(8) prints it.
pub fn unix_name(bytes: &[u8]) -> Cow<'_, [u8]> {
    match bytes {
        [0, name @ ..] => [b"@", name].concat().into(),
        path => trace_ebpf::until_nul(path).into(),
    }
}

fn netlink(rest: &[u8]) -> Fields<'static> {
    Some(vec![
        ("nl_pid".into(), Composite::Number(unsigned(rest.get(2..6)?).into())),
        ("nl_groups".into(), Composite::word(format!("{:08x}", unsigned(rest.get(6..10)?)))),
    ])
}

fn port(rest: &[u8]) -> Option<i128> {
    Some(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let Composite::Fields { fields, .. } = of(bytes) else { panic!("no fields") };
        fields.iter().map(|(name, value)| format!("{name}={value:?} ")).collect()
    }

    #[test]
    fn addresses_are_shown_by_family() {
        let internet = shown(&[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(internet.contains("AF_INET") && internet.contains("sin_port=Number(80)"), "{internet}");
        assert!(shown(b"\x01\0/tmp/x\0rest").contains("sun_path"));
        assert_eq!(unix_name(b"/tmp/x\0rest"), &b"/tmp/x"[..]);
        assert_eq!(unix_name(b"\0name"), &b"@name"[..]);
        assert!(shown(&[2, 0, 0]).contains("sa_data"));
        assert!(shown(&[16, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]).contains("00000002"));
    }
}
