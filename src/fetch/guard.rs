//! Keeps fetches away from private networks.
//!
//! The check sits in the resolver, at the last step before connecting: whatever name, redirect or
//! spelling led there, a connection is made only to addresses that passed. A name that changes its
//! answer between a check and its use gains nothing, because there is no earlier check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

/// Which hosts may be fetched from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Switches the guard off: private, loopback and link-local addresses are fetched too.
    pub allow_private_networks: bool,
    /// Hosts that may lie in a private network, each as `host` or `host:port` in lower case, an
    /// IPv6 address in brackets.
    pub allowed_hosts: Vec<String>,
}

impl NetworkPolicy {
    /// True when this host and port may resolve to any address.
    fn trusts(&self, host: &str, port: u16) -> bool {
        self.allow_private_networks
            || self.allowed_hosts.iter().any(|allowed| {
                allowed
                    .strip_prefix(host)
                    .is_some_and(|rest| rest.is_empty() || rest == format!(":{port}"))
            })
    }
}

/// A name resolved to an address that is not on the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host has an address that is not public")]
pub(super) struct NotPublic;

/// The system's resolver behind a [`NetworkPolicy`].
#[derive(Debug)]
pub(super) struct GuardedResolver {
    pub(super) policy: NetworkPolicy,
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = match DefaultResolver::default().resolve(uri, config, timeout) {
            Err(ureq::Error::Io(_)) => return Err(ureq::Error::HostNotFound),
            other => other?,
        };
        let host = uri.host().unwrap_or_default();
        for address in &*found {
            // One such address is enough: a name with a public and a private one is an attempt.
            if !is_public(address.ip()) && !self.policy.trusts(host, address.port()) {
                return Err(ureq::Error::Other(Box::new(NotPublic)));
            }
        }
        Ok(found)
    }
}

/// True for addresses of the public internet.
///
/// From the IANA special-purpose address registries, read strictly: what is not globally reachable
/// unicast, and what carries an IPv4 address inside (mapped, 6to4, Teredo, NAT64), is not public.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IPv4 blocks that are not public: network and prefix length.
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),           // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carrier-grade NAT, cloud metadata
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, cloud metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, broadcast
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|(network, length)| {
        let differing = address.to_bits() ^ network.to_bits();
        differing >> (32 - length) == 0
    })
}

/// Blocks inside `2000::/3` that are not public; everything outside of it is not public anyway.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_global_unicast = address.to_bits() >> 125 == 1;
    is_global_unicast
        && !SPECIAL_V6.iter().any(|(network, length)| {
            let differing = address.to_bits() ^ network.to_bits();
            differing >> (128 - length) == 0
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn neighbours_of_special_blocks_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2a00::1",
            "3ffe::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_allowed_host_is_trusted_on_its_own_port_only() {
        let policy = NetworkPolicy {
            allow_private_networks: false,
            allowed_hosts: vec!["minio.lan:9000".into(), "nas.lan".into(), "[::1]:80".into()],
        };
        let cases = [
            ("minio.lan", 9000, true),
            ("minio.lan", 900, false),
            ("minio.lan", 90001 % 65536, false),
            ("minio", 9000, false),
            ("nas.lan", 80, true),
            ("nas.lan", 1, true),
            ("nas.lan.example.com", 80, false),
            ("nas", 80, false),
            ("[::1]", 80, true),
            ("[::1]", 81, false),
            ("", 80, false),
        ];
        for (host, port, expected) in cases {
            assert_eq!(policy.trusts(host, port as u16), expected, "{host}:{port}");
        }
        assert!(!NetworkPolicy::default().trusts("127.0.0.1", 80));
    }
}
