//! Session cookies of the hosted pages and the console (RFC 6265bis §4.1.3.2). They are bound to
//! this host, sent over TLS only, inaccessible to scripts, and not sent with cross-site requests.

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use crate::domain::common::time::Span;

/// Header that identifies the page that sends a request. HTML forms cannot set it, and pages of
/// other origins may not, so a request with it comes from one of Keyswap's own pages.
const PAGE_HEADER: &str = "keyswap-page";

/// A page with its own kind of session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionPage {
    /// A hosted page, on which users manage API keys.
    Portal,
    /// The operator console.
    Console,
}

impl SessionPage {
    const fn cookie(self) -> &'static str {
        match self {
            Self::Portal => "__Host-keyswap",
            Self::Console => "__Host-keyswap-console",
        }
    }

    /// The value of `PAGE_HEADER`.
    pub const fn header_value(self) -> &'static str {
        match self {
            Self::Portal => "1",
            Self::Console => "console",
        }
    }
}

/// The session in the cookie of `page`, if that page sent the request without another credential.
pub fn find_session(page: SessionPage, headers: &HeaderMap) -> Option<&str> {
    let elsewhere = headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key");
    if elsewhere || identify_page(headers) != Some(page) {
        return None;
    }
    // Split as bytes, because the cookies of other applications may not be UTF-8.
    let cookies = headers.get_all(COOKIE).flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut named = cookies
        .filter_map(|cookie| std::str::from_utf8(cookie).ok()?.trim().strip_prefix(page.cookie())?.strip_prefix('='));
    named.next()
}

/// The page that sent the request. Browsers state the origin of a request in `Sec-Fetch-Site`
/// (Fetch Metadata), and scripts of other origins cannot omit it.
pub fn identify_page(headers: &HeaderMap) -> Option<SessionPage> {
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return None;
    }
    let value = headers.get(PAGE_HEADER)?;
    [SessionPage::Portal, SessionPage::Console].into_iter().find(|page| value == page.header_value())
}

pub fn set(page: SessionPage, session: &str, lifetime: Span) -> String {
    format!("{}={session}; {COOKIE_ATTRIBUTES}; Max-Age={}", page.cookie(), lifetime.as_secs())
}

pub fn clear(page: SessionPage) -> String {
    format!("{}=; {COOKIE_ATTRIBUTES}; Max-Age=0", page.cookie())
}

const COOKIE_ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

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
    fn cookies_of_other_applications_are_ignored() {
        let mut all = headers(&[("keyswap-page", "1")]);
        let value = HeaderValue::from_bytes(b"name=J\xfcrgen; __Host-keyswap=kps_x").unwrap();
        all.insert(COOKIE, value);
        assert_eq!(find_session(SessionPage::Portal, &all), Some("kps_x"));
    }

    #[test]
    fn session_cookie_requires_the_page_header_and_same_origin() {
        let cookie = ("cookie", "other=1; __Host-keyswap=kps_x; __Host-keyswap2=y");
        assert_eq!(find_session(SessionPage::Portal, &headers(&[cookie, ("keyswap-page", "1")])), Some("kps_x"));
        assert_eq!(
            find_session(
                SessionPage::Portal,
                &headers(&[cookie, ("keyswap-page", "1"), ("sec-fetch-site", "same-origin")])
            ),
            Some("kps_x")
        );
        for more in [vec![], vec![("keyswap-page", "1"), ("sec-fetch-site", "same-site")]] {
            assert_eq!(find_session(SessionPage::Portal, &headers(&[vec![cookie], more].concat())), None);
        }
        for credential in ["authorization", "x-api-key"] {
            assert_eq!(
                find_session(SessionPage::Portal, &headers(&[cookie, ("keyswap-page", "1"), (credential, "x")])),
                None
            );
        }
    }

    #[test]
    fn each_page_has_a_session_of_its_own() {
        let cookie = ("cookie", "__Host-keyswap=kps_x; __Host-keyswap-console=eyJ");
        for (mark, portal, console) in [("1", Some("kps_x"), None), ("console", None, Some("eyJ")), ("2", None, None)] {
            let all = headers(&[cookie, ("keyswap-page", mark)]);
            assert_eq!(
                (find_session(SessionPage::Portal, &all), find_session(SessionPage::Console, &all)),
                (portal, console)
            );
        }
    }
}
