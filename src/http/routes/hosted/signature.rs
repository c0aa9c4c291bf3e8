//! What the clients of the hosted form sign, and by which rule.
//!
//! The signature is the lower-case hex of HMAC-SHA256, with the app's token as the key, over three
//! lines: the method, the MD5 of the body in hex, and the path with its query, sorted by name and
//! without the parameter `sign`. The time of the request is not signed.

use std::fmt::Write as _;

use axum::http::{Method, Uri};
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::domain::Secret;

/// The parameter that is no part of the text.
const UNSIGNED_PARAMETER: &str = "sign";

/// The text that is signed for a request, whose body is given as it was received.
pub(super) fn text(method: &Method, uri: &Uri, body: &[u8]) -> String {
    let mut text = format!("{method}\n{}\n{}", hex(&Md5::digest(body)), uri.path());
    let name = |pair: &&str| pair.split('=').next().unwrap_or_default().to_owned();
    let query = uri.query().unwrap_or_default().split('&');
    let mut pairs: Vec<&str> = query
        .filter(|pair| !pair.is_empty() && name(pair) != UNSIGNED_PARAMETER)
        .collect();
    pairs.sort_by_key(name);
    if !pairs.is_empty() {
        text.push('?');
        text.push_str(&pairs.join("&"));
    }
    text
}

/// Whether a signature is that of the text, in time that does not depend on where they differ.
pub(super) fn is_of(signature: &str, text: &str, token: &Secret) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes()) else {
        return false;
    };
    mac.update(text.as_bytes());
    let ours = hex(&mac.finalize().into_bytes());
    ours.as_bytes().ct_eq(signature.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Secret {
        Secret::new("demo-token")
    }

    fn post(path: &str, body: &str) -> String {
        text(&Method::POST, &path.parse().unwrap(), body.as_bytes())
    }

    #[test]
    fn the_published_vectors_hold() {
        // `portrait-api` 8.2, made with Python's hashlib and hmac.
        let images = r#"{"action":"AIGCImageCheck","images":["https://img.example.com/a.jpg"]}"#;
        for (path, body, md5, signature) in [
            (
                "/api/v1/aigc_images/check",
                images,
                "3a3d2afbe500a724098714275f6ae628",
                "98f9b6d642e7c40f81a6d8ce3047cebd47bfedf581fd03ba29affac6284410ed",
            ),
            (
                "/api/v1/async_jobs/42",
                "",
                "d41d8cd98f00b204e9800998ecf8427e",
                "3c8b59b10ba7897a1bfc3370a412a3c44f5be815deff2f8f53ef148c289532ab",
            ),
            (
                "/api/v1/async_jobs/42",
                "{}",
                "99914b932bd37a50b983c5e7c90ae93b",
                "e43959857447dee5c05575f47ed0837840c711c9aec20f26396298f6b3609c39",
            ),
        ] {
            let signed = post(path, body);
            assert_eq!(signed, format!("POST\n{md5}\n{path}"));
            assert!(is_of(signature, &signed, &token()), "{path} {body}");
            assert!(!is_of(&signature.to_uppercase(), &signed, &token()));
            assert!(!is_of(&signature[..63], &signed, &token()));
            assert!(!is_of(signature, &signed, &Secret::new("demo-tokem")));
            assert!(!is_of(signature, &post(path, "{} "), &token()));
            assert!(!is_of(
                signature,
                &post("/api/v1/async_jobs/4", body),
                &token()
            ));
        }
    }

    #[test]
    fn a_query_is_sorted_and_leaves_out_the_signature() {
        let path = |query: &str| {
            let signed = post(&format!("/api/v1/async_jobs/42{query}"), "");
            signed.lines().last().unwrap().to_owned()
        };
        assert_eq!(
            path("?b=2&sign=x&a=1&ab=0"),
            "/api/v1/async_jobs/42?a=1&ab=0&b=2"
        );
        assert_eq!(path("?signed=1&sign"), "/api/v1/async_jobs/42?signed=1");
        assert_eq!(path("?sign=x"), "/api/v1/async_jobs/42");
        assert_eq!(path("?"), "/api/v1/async_jobs/42");
    }
}
