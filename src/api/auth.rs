//! Who sends: a write key, offered in one of the three ways that client libraries know.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::WriteKey;
use super::error::ApiError;
use crate::domain::id::digest;

/// Padding is left out by some senders.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The source whose key was offered. Tried in this order, and the first one offered decides: the user name of basic
/// authentication, `writeKey` in the body, a bearer token.
pub(super) fn source<'a>(
    keys: &'a [WriteKey],
    headers: &HeaderMap,
    in_body: Option<&str>,
) -> Result<&'a str, ApiError> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, credentials) = authorization.and_then(|value| value.trim().split_once(' ')).unwrap_or_default();
    let basic = scheme.eq_ignore_ascii_case("basic").then(|| user_name(credentials)).flatten();
    let bearer = scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim().to_owned());
    let offered = [basic, in_body.map(str::to_owned), bearer].into_iter().flatten().find(|key| !key.is_empty());
    look_up(keys, &offered.ok_or(ApiError::NoWriteKey)?).ok_or(ApiError::UnknownWriteKey)
}

/// `key:` or, from old libraries, `key` without the colon.
fn user_name(credentials: &str) -> Option<String> {
    let decoded = String::from_utf8(BASE64.decode(credentials.trim()).ok()?).ok()?;
    Some(decoded.split_once(':').map_or(decoded.as_str(), |(name, _)| name).to_owned())
}

/// Takes the same time whichever key matches and however much of it: hashes are compared, whole, with every key.
fn look_up<'a>(keys: &'a [WriteKey], offered: &str) -> Option<&'a str> {
    let offered = digest(&[offered.as_bytes()]);
    let mut found = None;
    for known in keys {
        let known_hash = digest(&[known.key.as_bytes()]);
        let difference = offered.iter().zip(known_hash).fold(0, |difference, (a, b)| difference | (a ^ b));
        if difference == 0 {
            found = Some(known.source.as_str());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_but_one_with_a_known_key_lets_anybody_in(
            scheme in "(?i)(basic|bearer|digest|)", rest in "[ -~\u{80}-\u{ff}]{0,40}", name in "[ -~]{0,12}",
        ) {
            let keys = [WriteKey { key: "a-key-that-no-soup-has".to_owned(), source: "web".to_owned() }];
            let encoded = BASE64.encode(&name);
            for text in [format!("{scheme} {rest}"), format!("{scheme} {encoded}"), rest.clone()] {
                let mut headers = HeaderMap::new();
                if let Ok(value) = header::HeaderValue::from_bytes(text.as_bytes()) {
                    headers.insert(header::AUTHORIZATION, value);
                }
                prop_assert!(source(&keys, &headers, None).is_err());
                prop_assert_eq!(source(&keys, &headers, Some("a-key-that-no-soup-has")).is_ok(), user_offered(&text).is_none());
            }
        }
    }

    /// What basic authentication in this header offers before the body is asked.
    fn user_offered(text: &str) -> Option<String> {
        let text = std::str::from_utf8(text.as_bytes()).ok().filter(|text| text.is_ascii())?;
        let (scheme, credentials) = text.trim().split_once(' ')?;
        let name = scheme.eq_ignore_ascii_case("basic").then(|| user_name(credentials)).flatten()?;
        (!name.is_empty()).then_some(name)
    }

    #[test]
    fn the_first_key_offered_decides_and_a_missing_colon_is_forgiven() {
        let keys = ["web", "server"].map(|source| WriteKey { key: format!("{source}-key"), source: source.to_owned() });
        let check = |authorization: Option<&str>, in_body: Option<&str>, expected: Result<&str, ApiError>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(source(&keys, &headers, in_body), expected, "{authorization:?} {in_body:?}");
        };
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
        check(Some(&basic("web-key:")), Some("server-key"), Ok("web"));
        check(Some(&basic("server-key")), None, Ok("server"));
        check(Some(&basic("web-key:a password")), None, Ok("web"));
        check(Some(basic("web-key").trim_end_matches('=')), None, Ok("web"));
        check(Some(&basic("guess:")), Some("web-key"), Err(ApiError::UnknownWriteKey));
        check(Some("Basic %%%"), Some("web-key"), Ok("web"));
        check(Some("Bearer an-oauth-token"), Some("web-key"), Ok("web"));
        check(Some("bearer server-key"), None, Ok("server"));
        check(None, Some("web-ke"), Err(ApiError::UnknownWriteKey));
        check(Some(&basic(":")), None, Err(ApiError::NoWriteKey));
        check(None, None, Err(ApiError::NoWriteKey));
    }
}
