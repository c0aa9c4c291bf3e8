//! Who may call: tokens, and pages of other sites that may not.
//!
//! Two things keep a page that somebody looks at on this machine from calling a server without a
//! token: browsers say which site a request comes from, and a name that its owner lets point to this
//! machine (DNS rebinding) is not one that such a server answers to.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, HeaderValue, Method,
    header::{AUTHORIZATION, HOST},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use crate::domain::Secret;

use super::error::Refusal;

/// What a signed request of the synchronous EAS client is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Method of the request.
    pub method: &'a Method,
    /// Path without the query.
    pub path: &'a str,
}

/// Checks the token of a request against every token that opens the address. With no token at all
/// the address is open to callers that reach it under an IP address or as `localhost`.
///
/// Accepted are the token itself, `Bearer <token>`, the token as the password of `Basic`, whoever the
/// user is, and the signature `EAS <base64>` of the synchronous client.
pub fn check(
    headers: &HeaderMap,
    tokens: &[&Secret],
    signed: Option<Signed<'_>>,
) -> Result<(), Refusal> {
    if tokens.is_empty() {
        return check_host(headers);
    }
    let given = headers
        .get(AUTHORIZATION)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let password = given.strip_prefix(b"Basic ").and_then(password);
    let bare = given.strip_prefix(b"Bearer ").unwrap_or(given);
    let bare = password.as_deref().unwrap_or(bare);
    // Every token is compared, whatever the outcome of the first, in time that does not depend on
    // where they differ.
    let matching = tokens
        .iter()
        .map(|token| bool::from(token.expose().as_bytes().ct_eq(bare)))
        .fold(false, |any, equal| any | equal);
    if matching {
        return Ok(());
    }
    if let (Some(signature), Some(signed)) = (given.strip_prefix(b"EAS "), signed)
        && let Ok(signature) = BASE64_STANDARD.decode(signature)
        && tokens
            .iter()
            .any(|token| is_signed(headers, token, signed, &signature))
    {
        return Ok(());
    }
    Err(Refusal::new(
        401,
        "the token is missing or wrong; send the service's token in the header Authorization",
    ))
}

/// The password in the credentials of `Basic` (RFC 7617).
fn password(credentials: &[u8]) -> Option<Vec<u8>> {
    let mut pair = BASE64_STANDARD.decode(credentials).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair.split_off(colon + 1))
}

/// HMAC-SHA1 over method, MD5 of the body as the client states it, content type, date and path,
/// one per line. The date is not compared with the clock: the client writes its local time as if
/// it were GMT.
fn is_signed(headers: &HeaderMap, token: &Secret, signed: Signed<'_>, signature: &[u8]) -> bool {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    };
    let content_type = match text("content-type") {
        "" => "application/octet-stream",
        given => given,
    };
    let message = [
        signed.method.as_str(),
        text("content-md5"),
        content_type,
        text("date"),
        signed.path,
    ]
    .join("\n");
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.expose().as_bytes()) else {
        return false;
    };
    mac.update(message.as_bytes());
    mac.verify_slice(signature).is_ok()
}

/// Refuses requests that a page of another site makes in a browser of this machine. Browsers say
/// so by themselves; other clients send no such header.
pub fn check_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    match site {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Refusal::new(
            403,
            "pages of other sites may not call this server",
        )),
    }
}

fn check_host(headers: &HeaderMap) -> Result<(), Refusal> {
    // Only clients older than HTTP/1.1, and so no browser, leave it out.
    let Some(host) = headers.get(HOST) else {
        return Ok(());
    };
    if host.to_str().is_ok_and(is_local_name) {
        return Ok(());
    }
    Err(Refusal::new(
        403,
        "a server without a token answers only under an IP address or as localhost; call it so, or \
         give it a token with PHOTOG_TOKEN",
    ))
}

/// Whether a host, with or without a port, is an IP address or `localhost`.
fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let name = bare.unwrap_or(name).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_a_matching_token_opens() {
        let (ours, theirs) = (Secret::new("alpha"), Secret::new("beta"));
        let tokens = [&ours, &theirs];
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        let (as_password, as_user) = (basic("anna:alpha"), basic("alpha:anna"));
        let (without_user, alone) = (basic(":beta"), basic("alpha"));
        for good in [
            "alpha",
            "beta",
            "Bearer alpha",
            "Bearer beta",
            &as_password,
            &without_user,
        ] {
            assert_eq!(
                check(&headers(&[("authorization", good)]), &tokens, None),
                Ok(()),
                "{good}"
            );
        }
        for bad in [
            "",
            "alph",
            "alphabeta",
            "ALPHA",
            "bearer alpha",
            "Bearer ",
            "EAS YWxwaGE=",
            "Basic alpha",
            &as_user,
            &alone,
        ] {
            let refused = check(&headers(&[("authorization", bad)]), &tokens, None).unwrap_err();
            assert_eq!(refused.status, 401, "{bad}");
        }
        assert_eq!(check(&headers(&[]), &tokens, None).unwrap_err().status, 401);
        assert_eq!(check(&headers(&[]), &[], None), Ok(()));
    }

    #[test]
    fn a_signature_opens_for_the_text_it_was_made_for() {
        // Made with Python's hmac: key "token", text
        // "POST\n5d41402abc4b2a76b9719d911017c592\napplication/octet-stream\n
        // Mon, 06 Jul 2026 10:00:00 GMT\n/api/predict/photog_check" (without the break).
        let given = headers(&[
            ("authorization", "EAS R6h455nQOOeLP3PVMSm0OHABoi8="),
            ("content-md5", "5d41402abc4b2a76b9719d911017c592"),
            ("date", "Mon, 06 Jul 2026 10:00:00 GMT"),
        ]);
        let token = Secret::new("token");
        let signed = |path| {
            Some(Signed {
                method: &Method::POST,
                path,
            })
        };
        assert_eq!(
            check(&given, &[&token], signed("/api/predict/photog_check")),
            Ok(())
        );
        assert!(check(&given, &[&token], signed("/api/predict/other")).is_err());
        assert!(
            check(
                &given,
                &[&Secret::new("other")],
                signed("/api/predict/photog_check")
            )
            .is_err()
        );
    }

    #[test]
    fn without_a_token_a_foreign_name_does_not_open() {
        for good in [
            "localhost",
            "LocalHost:7860",
            "a.localhost:1",
            "127.0.0.1:7860",
            "10.0.0.3",
            "[::1]:7860",
            "[::1]",
        ] {
            assert_eq!(
                check(&headers(&[("host", good)]), &[], None),
                Ok(()),
                "{good}"
            );
        }
        for bad in [
            "evil.example",
            "evil.example:7860",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "",
        ] {
            let refused = check(&headers(&[("host", bad)]), &[], None).unwrap_err();
            assert_eq!(refused.status, 403, "{bad}");
        }
        let (token, given) = (
            Secret::new("t"),
            headers(&[("host", "studio.example"), ("authorization", "t")]),
        );
        assert_eq!(check(&given, &[&token], None), Ok(()));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        assert_eq!(check_site(&headers(&[])), Ok(()));
        assert_eq!(
            check_site(&headers(&[("sec-fetch-site", "same-origin")])),
            Ok(())
        );
        for site in ["cross-site", "same-site"] {
            assert_eq!(
                check_site(&headers(&[("sec-fetch-site", site)]))
                    .unwrap_err()
                    .status,
                403
            );
        }
    }
}
