//! Web origins (RFC 6454).

use std::str::FromStr;

use url::Url;

use crate::domain::common::text::{display_as_str, impl_serde_as_text};

/// A scheme, a host and, unless it is the default, a port, in the form of the `Origin` header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(String);

/// Returned for a text that is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an origin; give a scheme and a host, such as https://app.example.com")]
pub struct InvalidOrigin;

impl Origin {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let url = Url::parse(text).map_err(|_| InvalidOrigin)?;
        let origin = url.origin().ascii_serialization();
        // A path, userinfo or another spelling would appear to be significant, so it is rejected.
        let is_origin_only = text == origin || text.strip_suffix('/') == Some(&origin);
        if is_origin_only && matches!(url.scheme(), "http" | "https") { Ok(Self(origin)) } else { Err(InvalidOrigin) }
    }
}

display_as_str!(Origin);
impl_serde_as_text!(Origin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serialized_browser_origins_are_accepted() {
        for good in ["https://app.example.com", "http://localhost:3000", "https://[2001:db8::1]:8443"] {
            assert_eq!(good.parse::<Origin>().unwrap().as_str(), good);
        }
        assert_eq!("https://app.example.com/".parse::<Origin>().unwrap().as_str(), "https://app.example.com");
        for bad in [
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/path",
            "https://user@app.example.com",
            "HTTPS://APP.EXAMPLE.COM",
            "https://app.example.com:443",
            "file:///",
            "",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(InvalidOrigin), "{bad}");
        }
    }
}
