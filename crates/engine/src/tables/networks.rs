//! Sets of addresses: the networks of trusted proxies.

use std::net::{IpAddr, SocketAddr};

/// Networks in CIDR notation, and perhaps Unix sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    has_unix: bool,
}

impl Networks {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, single addresses, and `unix:` for every Unix socket.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let mut networks = Self::default();
        for text in texts {
            networks.add(text).ok_or_else(|| {
                format!("`{text}` is not a valid network\nhint: write `10.0.0.0/8`, `::1` or `unix:`")
            })?;
        }
        Ok(networks)
    }

    fn add(&mut self, text: &str) -> Option<()> {
        if text == "unix:" {
            self.has_unix = true;
            return Some(());
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => {
                let bits = bits.unwrap_or(32);
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
                self.v4.push((u32::from(address) & mask, mask));
            }
            IpAddr::V6(address) => {
                let bits = bits.unwrap_or(128);
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
                self.v6.push((u128::from(address) & mask, mask));
            }
        }
        Some(())
    }

    /// Whether an address is in one of them; an IPv4 address in IPv6 form counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let number = u32::from(address);
                self.v4.iter().any(|(network, mask)| number & mask == *network)
            }
            IpAddr::V6(address) => {
                let number = u128::from(address);
                self.v6.iter().any(|(network, mask)| number & mask == *network)
            }
        }
    }

    /// As [`Networks::contains`], for an address as clients are named: text, or `unix:`.
    pub(crate) fn contains_text(&self, address: &str) -> bool {
        match address.parse() {
            Ok(address) => self.contains(address),
            Err(_) => self.has_unix && address.starts_with("unix:"),
        }
    }
}

/// An IPv4 address in IPv6 form as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Result<Networks, String> {
        Networks::parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_are_found_in_their_networks() {
        let some = networks(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "0.0.0.0/32"]).expect("good");
        for inside in ["10.255.0.1", "192.0.2.7", "2001:db8:1::1", "::ffff:10.1.2.3"] {
            assert!(some.contains_text(inside), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "unix:", "nonsense"] {
            assert!(!some.contains_text(outside), "{outside}");
        }
        let every = networks(&["0.0.0.0/0", "::/0", "unix:"]).expect("good");
        assert!(every.contains_text("8.8.8.8") && every.contains_text("::9") && every.contains_text("unix:"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "x", "", "1.2.3.4/-1"] {
            assert!(networks(&[text]).is_err(), "{text}");
        }
    }
}
