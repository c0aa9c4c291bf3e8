//! Apps: who may call the hosted form.

use std::{collections::BTreeMap, time::Duration};

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::domain::Secret;

use super::envelope::Refused;

/// When a client sent its request, in seconds since 1970. Not all clients say so.
const TIME_HEADER: &str = "x-request-time";

/// Apps that may call, each with a token that it signs with.
#[derive(Debug, Clone, Default)]
pub struct HostedApps {
    /// Tokens by the ids of their apps.
    pub tokens: BTreeMap<String, Secret>,
    /// How far the time that a request states may be off; `None` does not look at it.
    pub clock_difference_max: Option<Duration>,
}

/// Who a request says it is from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub(super) app_id: &'a str,
    /// The token of that app.
    pub(super) token: &'a Secret,
    /// What has to be the signature with that token.
    pub(super) signature: String,
}

impl HostedApps {
    /// What the head of a request says, which its signature has to prove.
    pub(super) fn claim(&self, headers: &HeaderMap, now_ms: i64) -> Result<Claim<'_>, Refused> {
        if self.tokens.is_empty() {
            let text = "no app may call this server yet; name one in the setting `apps` or in \
                        PHOTOG_APPS, as appid:token, and start photog again";
            return Err(unknown_app(text));
        }
        let given = headers.get(AUTHORIZATION).map(HeaderValue::to_str);
        let pair = given.and_then(|given| given.ok()?.split_once(':'));
        let Some((app_id, signature)) = pair else {
            return Err(unsigned(
                "the request is not signed; send <appid>:<signature> in the header Authorization",
            ));
        };
        let Some((app_id, token)) = self.tokens.get_key_value(app_id) else {
            let text = "there is no app of this id; use one of the setting `apps`";
            return Err(unknown_app(text));
        };
        self.check_time(headers, now_ms)?;
        Ok(Claim {
            app_id,
            token,
            signature: signature.to_owned(),
        })
    }

    fn check_time(&self, headers: &HeaderMap, now_ms: i64) -> Result<(), Refused> {
        let (Some(most), Some(given)) = (self.clock_difference_max, headers.get(TIME_HEADER))
        else {
            return Ok(());
        };
        let seconds: Option<i64> = given.to_str().ok().and_then(|text| text.parse().ok());
        let Some(seconds) = seconds else {
            let text = "X-Request-Time has to be the seconds since 1970, as a whole number";
            return Err(unsigned(text));
        };
        let difference = (now_ms / 1000).abs_diff(seconds);
        if difference <= most.as_secs() {
            return Ok(());
        }
        Err(unsigned(format!(
            "X-Request-Time is {difference} seconds off, at most {} are allowed; set the clock, and \
             sign each request when it is sent",
            most.as_secs()
        )))
    }
}

/// A request whose signature is missing, wrong or old.
pub(super) fn unsigned(text: impl Into<String>) -> Refused {
    Refused::new(401, "SIGN_ERROR", text)
}

fn unknown_app(text: &str) -> Refused {
    Refused::new(401, "APPID_NOT_FOUND", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apps(minutes: Option<u64>) -> HostedApps {
        let pair = |id: &str, token| (id.to_owned(), Secret::new(token));
        HostedApps {
            tokens: [pair("demo", "a"), pair("other", "b")].into(),
            clock_difference_max: minutes.map(|minutes| Duration::from_secs(minutes * 60)),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn code(apps: &HostedApps, pairs: &[(&'static str, &str)]) -> String {
        let refused = apps.claim(&headers(pairs), 1_700_000_000_000).unwrap_err();
        assert_eq!(refused.status, 401);
        refused.code
    }

    #[test]
    fn an_app_is_found_by_its_id() {
        let apps = apps(None);
        let given = headers(&[("authorization", "demo:00ff"), ("x-request-time", "1")]);
        let claim = apps.claim(&given, 0).unwrap();
        assert_eq!((claim.app_id, claim.token.expose()), ("demo", "a"));
        assert_eq!(claim.signature, "00ff");
        assert_eq!(code(&apps, &[]), "SIGN_ERROR");
        assert_eq!(code(&apps, &[("authorization", "demo")]), "SIGN_ERROR");
        for unknown in ["Demo:00ff", ":00ff", "demo :00ff", "Bearer demo:00ff"] {
            let code = code(&apps, &[("authorization", unknown)]);
            assert_eq!(code, "APPID_NOT_FOUND", "{unknown}");
        }
    }

    #[test]
    fn without_an_app_the_answer_says_how_to_name_one() {
        let given = headers(&[("authorization", "demo:00ff")]);
        let refused = HostedApps::default().claim(&given, 0).unwrap_err();
        assert_eq!(refused.status, 401);
        assert!(refused.message.contains("PHOTOG_APPS"), "{refused:?}");
    }

    #[test]
    fn a_stated_time_may_be_off_by_what_is_configured() {
        let apps = apps(Some(5));
        let at = |time: &str| {
            let given = headers(&[("authorization", "demo:00ff"), ("x-request-time", time)]);
            apps.claim(&given, 1_700_000_000_999).is_ok()
        };
        assert!(at("1700000000") && at("1699999700") && at("1700000300"));
        for off in [
            "1699999699",
            "1700000301",
            "0",
            "-9223372036854775808",
            "now",
            "",
        ] {
            assert!(!at(off), "{off}");
        }
        // The Python client states none.
        let given = headers(&[("authorization", "demo:00ff")]);
        assert!(apps.claim(&given, 0).is_ok());
    }
}
