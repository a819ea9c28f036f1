//! Display names. They appear on pages and in terminals, so characters that disguise a text are
//! refused.

use std::{fmt, str::FromStr};

use crate::domain::common::{key_text::holds_key, time::impl_serde_as_text};

/// 1 to 200 characters, without control, bidirectional and invisible characters, without spaces at
/// either end, and without an API key, which users may paste into the wrong field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ok = (1..=200).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(is_deceptive_character)
            && !holds_key(text);
        if ok { Ok(Self(text.to_owned())) } else { Err(InvalidName) }
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl_serde_as_text!(DisplayName);

/// Returns whether a character is a control, bidirectional or invisible character (Unicode TR 36).
/// Such a character can make a name appear to be another one.
pub(crate) fn is_deceptive_character(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00AD}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Returned for a text that is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to 200 characters, none of them control, invisible or bidirectional, no space at either end, and no API key in it"
)]
pub struct InvalidName;
