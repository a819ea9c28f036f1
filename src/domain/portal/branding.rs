//! Branding of the hosted pages: name, logo, colors and texts of the product.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::common::{name::is_deceptive_character, time::impl_serde_as_text};

/// The configured branding. For an absent value, pages use the Keyswap default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branding {
    /// Name of the product, in the header of the page.
    #[serde(default)]
    pub name: Option<SingleLineText>,
    #[serde(default)]
    pub logo: Option<Logo>,
    /// Color of buttons and links on light pages; `accent_dark` is the one on dark pages.
    #[serde(default)]
    pub accent: Option<Colour>,
    #[serde(default)]
    pub accent_dark: Option<Colour>,
    #[serde(default)]
    pub texts: BrandingTexts,
}

/// Texts of the product that replace the default texts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandingTexts {
    /// Explains the purpose of the organization's keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_help: Option<SingleLineText>,
    /// Explains the purpose of the user's own keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_help: Option<SingleLineText>,
    /// Explains where to continue after the session has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_out_help: Option<SingleLineText>,
}

/// A text of 1 to 400 characters on one line, without control, bidirectional and invisible
/// characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleLineText(String);

/// Returned for a text that is not a valid `SingleLineText`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text has 1 to 400 characters, none of them control, invisible or bidirectional, and no space at either end")]
pub struct InvalidSingleLineText;

impl FromStr for SingleLineText {
    type Err = InvalidSingleLineText;
    fn from_str(text: &str) -> Result<Self, InvalidSingleLineText> {
        let fits = (1..=400).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(is_deceptive_character);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidSingleLineText) }
    }
}

impl fmt::Display for SingleLineText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(SingleLineText);

/// A color in the form `#rrggbb`, in lowercase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colour(String);

/// Returned for a text that is not a valid color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a colour is written as #3451b2: six hexadecimal digits, in small letters")]
pub struct InvalidColour;

impl FromStr for Colour {
    type Err = InvalidColour;
    fn from_str(text: &str) -> Result<Self, InvalidColour> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or(InvalidColour)?;
        let fits = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidColour) }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(Colour);

/// An image as a `data:` URL (RFC 2397). Pages display it as an image, so that scripts in it do not
/// run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo(String);

impl Logo {
    /// Maximum length of the URL in bytes; corresponds to an image of 30 KiB.
    pub const MAX_URL_LENGTH: usize = 40 * 1024 + 64;
    const MEDIA_SUBTYPES: [&str; 4] = ["png", "jpeg", "webp", "svg+xml"];
}

/// Returned for a text that is not a valid logo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a logo is a PNG, JPEG, WebP or SVG of at most 30 KiB, as a data URL in base64: data:image/png;base64,…")]
pub struct InvalidLogo;

impl FromStr for Logo {
    type Err = InvalidLogo;
    fn from_str(text: &str) -> Result<Self, InvalidLogo> {
        let rest =
            text.strip_prefix("data:image/").filter(|_| text.len() <= Self::MAX_URL_LENGTH).ok_or(InvalidLogo)?;
        let (kind, data) = rest.split_once(";base64,").ok_or(InvalidLogo)?;
        let digits = data.trim_end_matches('=');
        let is_base64 = !digits.is_empty()
            && data.len() % 4 == 0
            && data.len() - digits.len() <= 2
            && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
        if is_base64 && Self::MEDIA_SUBTYPES.contains(&kind) { Ok(Self(text.to_owned())) } else { Err(InvalidLogo) }
    }
}

impl fmt::Display for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(Logo);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_is_a_picture_and_nothing_else() {
        for good in
            ["data:image/png;base64,iVBORw0K", "data:image/svg+xml;base64,PHN2Zy8+", "data:image/webp;base64,AA=="]
        {
            assert_eq!(good.parse::<Logo>().map(|logo| logo.to_string()), Ok(good.to_owned()));
        }
        let long = format!("data:image/png;base64,{}", "A".repeat(Logo::MAX_URL_LENGTH));
        for bad in [
            "https://example.com/logo.png",
            "data:text/html;base64,PHN2Zy8+",
            "data:image/png,iVBORw0K",
            "data:image/png;base64,",
            "data:image/png;base64,A===",
            "data:image/png;base64,AAA",
            "data:image/png;base64,AA\"A",
            &long,
        ] {
            assert_eq!(bad.parse::<Logo>(), Err(InvalidLogo), "{bad:.40}");
        }
    }

    #[test]
    fn a_colour_has_six_digits() {
        assert!("#3451b2".parse::<Colour>().is_ok());
        for bad in ["#345", "3451b2", "#3451B2", "#3451b2;", "red", "#3451bg", ""] {
            assert_eq!(bad.parse::<Colour>(), Err(InvalidColour), "{bad}");
        }
    }

    #[test]
    fn a_text_stands_on_one_line() {
        assert!("Keys for programs – at Acme".parse::<SingleLineText>().is_ok());
        for bad in ["", " x", "a\nb", "a\u{202e}b", &"x".repeat(401)] {
            assert_eq!(bad.parse::<SingleLineText>(), Err(InvalidSingleLineText), "{bad:.20}");
        }
    }
}
