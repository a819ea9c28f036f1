//! The cookie of a hosted page (RFC 6265bis §4.1.3.2): for this host alone, over TLS alone, out of reach of scripts, and never sent along with a
//! request that another site makes.

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use crate::{domain::api_key_value::ApiKeyValue, domain::time::Span};

const NAME: &str = "__Host-keyswap";
/// No form can send it, and no page of another origin may: what comes with it was sent by a page of ours.
const MARK: &str = "keyswap-page";

/// The session, where a page of ours calls, and shows nothing else.
pub fn of(headers: &HeaderMap) -> Option<&str> {
    let elsewhere = headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key");
    if elsewhere || !is_sent_by_a_page(headers) {
        return None;
    }
    // Whatever others have left in theirs.
    let cookies = headers.get_all(COOKIE).flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut named =
        cookies.filter_map(|cookie| std::str::from_utf8(cookie).ok()?.trim().strip_prefix(NAME)?.strip_prefix('='));
    named.next()
}

/// Whether a page of ours sends this: browsers add where a request comes from (Fetch Metadata), and scripts of others cannot leave it out.
pub fn is_sent_by_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(MARK) && headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin")
}

pub fn set(session: &ApiKeyValue, lasts: Span) -> String {
    format!("{NAME}={}; {ATTRIBUTES}; Max-Age={}", session.expose(), lasts.as_secs())
}

pub fn clear() -> String {
    format!("{NAME}=; {ATTRIBUTES}; Max-Age=0")
}

const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let one = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn what_others_keep_in_cookies_is_theirs() {
        let mut all = headers(&[("keyswap-page", "1")]);
        let value = HeaderValue::from_bytes(b"name=J\xfcrgen; __Host-keyswap=kps_x").unwrap();
        all.insert(COOKIE, value);
        assert_eq!(of(&all), Some("kps_x"));
    }

    #[test]
    fn a_cookie_counts_where_a_page_of_ours_sends_it() {
        let cookie = ("cookie", "other=1; __Host-keyswap=kps_x; __Host-keyswap2=y");
        assert_eq!(of(&headers(&[cookie, ("keyswap-page", "1")])), Some("kps_x"));
        assert_eq!(of(&headers(&[cookie, ("keyswap-page", "1"), ("sec-fetch-site", "same-origin")])), Some("kps_x"));
        for more in [vec![], vec![("keyswap-page", "1"), ("sec-fetch-site", "same-site")]] {
            assert_eq!(of(&headers(&[vec![cookie], more].concat())), None);
        }
        for credential in ["authorization", "x-api-key"] {
            assert_eq!(of(&headers(&[cookie, ("keyswap-page", "1"), (credential, "x")])), None);
        }
    }
}
