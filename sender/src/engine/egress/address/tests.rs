use super::*;

fn judged(allow: &[&str], address: &str) -> Result<Reach, &'static str> {
    let policy = AddressPolicy::new(allow.iter().map(|range| range.parse().unwrap()).collect());
    policy.judge(address.parse().unwrap()).map_err(|refused| refused.range)
}

#[test]
fn special_addresses_are_refused_by_name() {
    let table = [
        ("0.0.0.0", "this network"),
        ("0.255.255.255", "this network"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("100.64.0.0", "shared address space"),
        ("100.100.100.200", "shared address space"), // a cloud's metadata service
        ("100.127.255.255", "shared address space"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "cloud platform service"),
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", "link-local"), // most clouds' metadata service
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.192", "IETF protocol assignments"), // another cloud's metadata service
        ("192.0.2.7", "documentation"),
        ("192.88.99.1", "6to4 relay"),
        ("192.168.0.1", "private"),
        ("192.168.255.255", "private"),
        ("198.18.0.1", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.254", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::2", "IPv4-compatible"),
        ("::8.8.8.8", "IPv4-compatible"),
        ("64:ff9b:1::1", "local NAT64"),
        ("64:ff9b:1:ffff::8.8.8.8", "local NAT64"),
        ("64:ff9b:2::1", "not global unicast"),
        ("100::1", "discard-only"),
        ("100:0:0:1::1", "not global unicast"),
        ("2001::1", "Teredo"),
        ("2001:0:ffff::1", "Teredo"),
        ("2001:1::1", "IETF protocol assignments"),
        ("2001:1ff:ffff::1", "IETF protocol assignments"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::1", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("3fff::1", "documentation"),
        ("3fff:fff::1", "documentation"),
        ("4000::1", "not global unicast"),
        ("5f00::1", "segment routing"),
        ("fc00::1", "unique local"),
        ("fd00:ec2::254", "unique local"), // a cloud's metadata service
        ("fdff:ffff::1", "unique local"),
        ("fe80::1", "link-local"),
        ("febf::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("ffff::1", "multicast"),
        ("1fff::1", "not global unicast"),
    ];
    for (address, range) in table {
        assert_eq!(judged(&[], address), Err(range), "{address}");
    }
}

#[test]
fn neighbours_of_special_ranges_are_public() {
    let table = [
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.255",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db9::1",
        "2003::1",
        "2606:4700::1111",
        "2a00::1",
        "3ffe:ffff::1",
        "3fff:1000::1",
    ];
    for address in table {
        assert_eq!(judged(&[], address), Ok(Reach::Public), "{address}");
    }
}

#[test]
fn an_ipv4_address_inside_an_ipv6_address_decides() {
    for (address, range) in [
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("64:ff9b::c0a8:1", "private"),
    ] {
        assert_eq!(judged(&[], address), Err(range), "{address}");
    }
    assert_eq!(judged(&[], "::ffff:8.8.8.8"), Ok(Reach::Public));
    assert_eq!(judged(&[], "64:ff9b::8.8.8.8"), Ok(Reach::Public));
    assert_eq!(judged(&["10.0.0.0/8"], "::ffff:10.1.2.3"), Ok(Reach::Allowed));
    assert_eq!(judged(&["10.0.0.0/8"], "64:ff9b::10.1.2.3"), Ok(Reach::Allowed));
    // The translator's own prefix is no way around the rule for what is behind it.
    assert_eq!(judged(&["64:ff9b::/96"], "64:ff9b::127.0.0.1"), Err("loopback"));
}

#[test]
fn six_to_four_must_be_allowed_on_both_levels() {
    assert_eq!(judged(&["2002::/16"], "2002:808:808::1"), Ok(Reach::Allowed));
    assert_eq!(judged(&["2002::/16"], "2002:7f00:1::1"), Err("6to4"));
    assert_eq!(judged(&["127.0.0.0/8"], "2002:7f00:1::1"), Err("6to4"));
    assert_eq!(judged(&["2002::/16", "127.0.0.0/8"], "2002:7f00:1::1"), Ok(Reach::Allowed));
}

#[test]
fn an_allowance_covers_its_range_and_no_more() {
    assert_eq!(judged(&["127.0.0.0/8"], "127.0.0.1"), Ok(Reach::Allowed));
    assert_eq!(judged(&["127.0.0.0/8"], "::1"), Err("loopback"));
    assert_eq!(judged(&["127.0.0.0/8"], "10.0.0.1"), Err("private"));
    assert_eq!(judged(&["10.1.0.0/16"], "10.2.0.1"), Err("private"));
    assert_eq!(judged(&["fd12::/16", "::1/128"], "::1"), Ok(Reach::Allowed));
    assert_eq!(judged(&["8.8.8.0/24"], "8.8.8.8"), Ok(Reach::Allowed));
    assert_eq!(judged(&["169.254.169.254/32"], "169.254.169.253"), Err("link-local"));
}
