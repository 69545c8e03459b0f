//! The network that is one client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// As text, such as `2001:db8::/64`: of an IPv6 address the first part, since one client has all of it; of an address that
/// holds an IPv4 one (mapped, NAT64, 6to4) that. What is not an address stays as it is.
pub(super) fn client_network(address: &str, ipv4_prefix: u8, ipv6_prefix: u8) -> String {
    let plain = address.split('%').next().unwrap_or(address);
    match plain.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => network_of_4(address, ipv4_prefix),
        Ok(IpAddr::V6(address)) => inner(address).map_or_else(
            || {
                let bits = address.to_bits() & (u128::MAX << (128 - u32::from(ipv6_prefix.clamp(1, 128))));
                format!("{}/{ipv6_prefix}", Ipv6Addr::from_bits(bits))
            },
            |inner| network_of_4(inner, ipv4_prefix),
        ),
        Err(_) => address.to_owned(),
    }
}

fn network_of_4(address: Ipv4Addr, prefix: u8) -> String {
    let bits = address.to_bits() & (u32::MAX << (32 - u32::from(prefix.clamp(1, 32))));
    format!("{}/{prefix}", Ipv4Addr::from_bits(bits))
}

/// The IPv4 address inside.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    const NAT64: u128 = 0x0064_ff9b << 96;
    let bits = address.to_bits();
    let low = |bits: u128| {
        u32::try_from(bits & u128::from(u32::MAX))
            .ok()
            .map(Ipv4Addr::from_bits)
    };
    if bits >> 32 == NAT64 >> 32 {
        return low(bits);
    }
    let of_6to4 = || (bits >> 112 == 0x2002).then(|| low(bits >> 80)).flatten();
    address.to_ipv4_mapped().or_else(of_6to4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_is_one_network() {
        for (address, network) in [
            ("203.0.113.7", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3:4:5:6%eth0", "2001:db8:1:2::/64"),
            ("::ffff:203.0.113.7", "203.0.113.0/24"),
            ("64:ff9b::cb00:7107", "203.0.113.0/24"),
            ("2002:cb00:7107::1", "203.0.113.0/24"),
            ("::1", "::/64"),
            ("unix:", "unix:"),
        ] {
            assert_eq!(client_network(address, 24, 64), network, "{address}");
        }
        assert_eq!(client_network("2001:db8::5", 32, 128), "2001:db8::5/128");
        assert_eq!(client_network("255.255.255.255", 1, 64), "128.0.0.0/1");
    }
}
