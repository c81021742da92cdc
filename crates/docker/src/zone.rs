//! IPv6 addresses with a zone, such as `[fe80::1%25eth0]:2375`
//! (<https://www.rfc-editor.org/rfc/rfc6874>).

use std::borrow::Cow;

/// Returns the address, as the system's resolver reads it, and the port of `host`, if it has a zone.
pub(crate) fn resolvable(host: &str) -> Option<(String, u16)> {
    let (address, port) = host.strip_prefix('[')?.split_once("]:")?;
    let (address, zone) = address.split_once("%25")?;
    Some((format!("{address}%{zone}"), port.parse().ok()?))
}

/// Returns `host` without its zone, which has no meaning on another machine.
pub(crate) fn without(host: &str) -> Cow<'_, str> {
    let zoned = host.split_once("%25");
    match zoned.and_then(|(address, rest)| Some((address, rest.split_once(']')?.1))) {
        Some((address, port)) => format!("{address}]{port}").into(),
        None => host.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_zone_is_taken_out_of_an_address() {
        for (host, resolved, plain) in [
            ("[fe80::1%25eth0]:2375", Some(("fe80::1%eth0", 2375)), "[fe80::1]:2375"),
            ("[::1]:2375", None, "[::1]:2375"),
            ("engine:2375", None, "engine:2375"),
            ("[fe80::1%25eth0", None, "[fe80::1%25eth0"),
        ] {
            let expected = resolved.map(|(address, port)| (address.to_owned(), port));
            assert_eq!((resolvable(host), without(host).as_ref()), (expected, plain));
        }
    }
}
