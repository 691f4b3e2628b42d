//! API keys, and what stands in for them where there are none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, header};
use subtle::ConstantTimeEq;

use crate::{ApiError, api_error::Failure, error::ServerError};

/// Refuses keys that no client could present: a typo must not lock everybody out, or in.
pub(crate) fn check_keys(keys: &[String]) -> Result<(), ServerError> {
    let bad = |key: &String| key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic());
    match keys.iter().position(bad) {
        Some(index) => Err(ServerError::ApiKey { number: index + 1 }),
        None => Ok(()),
    }
}

/// Whose requests are served: one number per API key, stable over restarts; 0 where none is asked
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tenant(pub(crate) u64);

/// The tenant whose key, one of `keys`, the request carries (none is asked for when there are
/// none).
pub(crate) fn authorize(headers: &HeaderMap, keys: &[String]) -> Result<Tenant, ApiError> {
    if keys.is_empty() {
        return Ok(Tenant(0));
    }
    let Some(presented) = bearer(headers) else {
        let message = "this server asks for an API key: send `Authorization: Bearer KEY`";
        return Err(ApiError::new(Failure::Unauthorized, message));
    };
    // Every key is compared, and every byte of it, so that the time taken tells nothing of a
    // key but its length.
    let matches = keys.iter().fold(0, |matches, key| {
        matches | key.as_bytes().ct_eq(presented.as_bytes()).unwrap_u8()
    });
    if matches == 1 {
        let mut hasher = DefaultHasher::new();
        presented.hash(&mut hasher);
        Ok(Tenant(hasher.finish().max(1)))
    } else {
        Err(ApiError::new(
            Failure::Unauthorized,
            "this API key is not one that the server accepts",
        ))
    }
}

/// Refuses a browser that was led here under the name of another site, where no key is asked for:
/// such a site can let its name lead to this server (DNS rebinding), and its scripts then read what
/// they like. Addresses, and names that the public DNS does not have, lead to nobody else.
pub(crate) fn check_host(headers: &HeaderMap, keys: &[String]) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).map(HeaderValue::to_str);
    match host {
        _ if !keys.is_empty() => Ok(()),
        // No browser leaves it out.
        None => Ok(()),
        Some(Ok(host)) if is_local(host) => Ok(()),
        Some(host) => {
            let host = host.unwrap_or("what is not ASCII");
            let message = format!(
                "without an API key this is not shown under the name `{host}`, which might be that \
                 of another site: use `localhost` or the server's address, or start the server \
                 with `--api-key`"
            );
            Err(ApiError::new(Failure::HostNotAllowed, message))
        }
    }
}

/// Whether `host`, a name or an address and perhaps a port, cannot be a name in the public DNS.
fn is_local(host: &str) -> bool {
    if host.starts_with('[') {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let ends = |end: &str| name.ends_with(end);
    name.parse::<IpAddr>().is_ok() || !name.contains('.') || ends(".localhost") || ends(".local")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_keys_pass() {
        let keys = ["alpha".to_owned(), "beta".to_owned()];
        let cases = [
            (None, false),
            (Some("Bearer alpha"), true),
            (Some("bearer  beta"), true),
            (Some("Bearer alph"), false),
            (Some("Bearer alphaa"), false),
            (Some("Bearer "), false),
            (Some("Basic alpha"), false),
            (Some("alpha"), false),
        ];
        for (value, passes) in cases {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            }
            assert_eq!(authorize(&headers, &keys).is_ok(), passes, "{value:?}");
            assert_eq!(authorize(&headers, &[]).ok(), Some(Tenant(0)), "{value:?}");
        }
    }

    #[test]
    fn every_key_is_a_tenant_of_its_own() {
        let keys = ["alpha".to_owned(), "beta".to_owned()];
        let tenant = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            authorize(&headers, &keys).expect("a known key")
        };
        assert_eq!(tenant("Bearer alpha"), tenant("bearer  alpha"));
        assert_ne!(tenant("Bearer alpha"), tenant("Bearer beta"));
        assert_ne!(tenant("Bearer alpha"), Tenant(0));
    }

    #[test]
    fn without_keys_only_names_that_are_nobody_elses_pass() {
        for (host, passes) in [
            ("127.0.0.1:8080", true),
            ("192.168.1.7", true),
            ("[::1]:8080", true),
            ("localhost:8080", true),
            ("agents.localhost", true),
            ("GPUBOX:8080", true),
            ("gpubox.local.", true),
            ("attacker.example:8080", false),
            ("127.0.0.1.attacker.example", false),
            ("localhost.attacker.example.", false),
        ] {
            let mut headers = HeaderMap::new();
            assert!(check_host(&headers, &[]).is_ok(), "no browser");
            headers.insert(header::HOST, host.parse().expect("a header"));
            assert_eq!(check_host(&headers, &[]).is_ok(), passes, "{host}");
            assert!(check_host(&headers, &["key".to_owned()]).is_ok(), "{host}");
        }
    }

    #[test]
    fn keys_that_cannot_be_sent_are_refused() {
        let keys = |key: &str| vec!["good".to_owned(), key.to_owned()];
        for key in ["", "two words", "schlüssel", "new\nline"] {
            assert!(matches!(
                check_keys(&keys(key)),
                Err(ServerError::ApiKey { number: 2 })
            ));
        }
        assert!(check_keys(&keys("sk-1234")).is_ok());
    }
}
