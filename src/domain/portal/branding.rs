//! Branding of the hosted pages: name, logo, colors and texts of the product.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::common::{name::is_single_line, text::text_type};

/// The appearance of the hosted pages. Omitted fields use the defaults of Keyswap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = BrandingPut)]
#[serde(deny_unknown_fields)]
pub struct Branding {
    /// The name of the product, shown in the header of the page.
    pub name: Option<SingleLineText>,
    pub logo: Option<Logo>,
    /// The color of buttons and links on light pages.
    pub accent: Option<Color>,
    /// The color of buttons and links on dark pages.
    pub accent_dark: Option<Color>,
    #[serde(default)]
    pub texts: BrandingTexts,
}

/// Texts of the product, which replace those of Keyswap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrandingTexts {
    /// Explains the purpose of the organization's keys.
    pub organization_help: Option<SingleLineText>,
    /// Explains the purpose of the user's own keys.
    pub user_help: Option<SingleLineText>,
    /// Explains where to go when the session has ended.
    pub signed_out_help: Option<SingleLineText>,
}

text_type! {
    /// A text of 1 to 400 characters on one line, without control, bidirectional and invisible
    /// characters.
    pub struct SingleLineText(|text| is_single_line(text, 400));

    #[error("a text has 1 to 400 characters, none of them control, invisible or bidirectional, and no space at either end")]
    pub struct InvalidSingleLineText;
}

text_type! {
    /// A color in the form `#rrggbb`, in lowercase.
    pub struct Color(|text| {
        let digits = text.strip_prefix('#').unwrap_or_default();
        digits.len() == 6 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });

    #[error("a color is written as #3451b2: six hexadecimal digits, in lowercase")]
    pub struct InvalidColor;
}

text_type! {
    /// An image as a `data:` URL (RFC 2397). Pages display it as an image, so that scripts in it do
    /// not run.
    pub struct Logo(|text| is_image_url(text));

    #[error("a logo is a PNG, JPEG, WebP or SVG of at most 30 KiB, as a data URL in base64: data:image/png;base64,…")]
    pub struct InvalidLogo;
}

impl Logo {
    /// Maximum length of the URL in bytes; corresponds to an image of 30 KiB.
    pub const MAX_URL_LENGTH: usize = 40 * 1024 + 64;
    const MEDIA_SUBTYPES: [&str; 4] = ["png", "jpeg", "webp", "svg+xml"];
}

fn is_image_url(text: &str) -> bool {
    let Some((kind, data)) = text.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,")) else {
        return false;
    };
    let digits = data.trim_end_matches('=');
    text.len() <= Logo::MAX_URL_LENGTH
        && Logo::MEDIA_SUBTYPES.contains(&kind)
        && !digits.is_empty()
        && data.len() % 4 == 0
        && data.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

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
    fn a_color_has_six_digits() {
        assert!("#3451b2".parse::<Color>().is_ok());
        for bad in ["#345", "3451b2", "#3451B2", "#3451b2;", "red", "#3451bg", ""] {
            assert_eq!(bad.parse::<Color>(), Err(InvalidColor), "{bad}");
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
