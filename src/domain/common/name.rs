//! Names and descriptions. They appear on pages and in terminals, so characters that disguise a
//! text are refused.

use crate::domain::common::{key_text::contains_api_key, text::text_type};

text_type! {
    /// 1 to 200 characters, without control, bidirectional and invisible characters, without spaces
    /// at either end, and without an API key, which users may paste into the wrong field.
    pub struct DisplayName(|text| is_single_line(text, 200) && !contains_api_key(text));

    #[error("a name has 1 to 200 characters, none of them control, invisible or bidirectional, no space at either end, and no API key in it")]
    pub struct InvalidName;
}

text_type! {
    /// One line of 1 to 500 characters, under the rules of a name.
    pub struct Description(|text| is_single_line(text, 500) && !contains_api_key(text));

    #[error("a description is one line of 1 to 500 characters, none of them control, invisible or bidirectional, no space at either end, and no API key in it")]
    pub struct InvalidDescription;
}

/// Returns whether a text has 1 to `max_length` characters, no space at either end, and no
/// deceptive character.
pub(crate) fn is_single_line(text: &str, max_length: usize) -> bool {
    (1..=max_length).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(is_deceptive_character)
}

/// Returns whether a character is a control, bidirectional or invisible character (Unicode TR 36).
/// Such a character can make a name appear to be another one.
pub(crate) fn is_deceptive_character(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00AD}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}
