//! Names and descriptions. They appear on pages and in terminals, so characters that disguise a
//! text are refused.

use unicode_properties::UnicodeEmoji;

use crate::domain::common::{key_text::contains_api_key, text::text_type};

text_type! {
    /// 1 to 200 characters, without control, bidirectional and invisible characters except within
    /// emoji and between letters that need a joiner, without spaces at either end, and without an
    /// API key, which users may paste into the wrong field.
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
    (1..=max_length).contains(&text.chars().count()) && text.trim() == text && !has_deceptive_character(text)
}

/// Returns whether a text has a deceptive character, other than those that are part of an emoji or
/// of the spelling of a word.
fn has_deceptive_character(text: &str) -> bool {
    let characters: Vec<_> = text.chars().collect();
    let is_accepted_in_context = |position: usize| {
        let (before, after) = characters.split_at(position);
        is_part_of_emoji(before, after) || is_joiner_of_letters(before, after)
    };
    (0..characters.len())
        .any(|position| is_deceptive_character(characters[position]) && !is_accepted_in_context(position))
}

/// Returns whether a character is a control, bidirectional or invisible character (Unicode TR 36).
/// Such a character can make a name appear to be another one.
pub(crate) fn is_deceptive_character(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00AD}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Returns whether the first character of `after` continues an emoji (Unicode TR 51): a variation
/// selector, a joiner between two emoji, or a tag of a flag.
fn is_part_of_emoji(before: &[char], after: &[char]) -> bool {
    // Digits, `#` and `*` are emoji only in a key cap, in which the selector and U+20E3 follow.
    let is_emoji = |c: &char| c.is_emoji_char() && !c.is_ascii();
    match (before, after) {
        (_, ['\u{FE0F}', '\u{20E3}', ..]) => before.last().is_some_and(|c| c.is_emoji_char()),
        (_, ['\u{FE0E}' | '\u{FE0F}', ..]) => before.last().is_some_and(is_emoji),
        (_, ['\u{200D}', next, ..]) => before.last().is_some_and(|c| is_emoji(c) || *c == '\u{FE0F}') && is_emoji(next),
        (_, [tag @ '\u{E0020}'..='\u{E007F}', ..]) => {
            let ends = *tag == '\u{E007F}' || matches!(after, [_, '\u{E0020}'..='\u{E007F}', ..]);
            let mut tagged = before.iter().rev().skip_while(|c| matches!(c, '\u{E0020}'..='\u{E007E}'));
            ends && tagged.next() == Some(&'\u{1F3F4}')
        }
        _ => false,
    }
}

/// Returns whether the first character of `after` is a joiner or a non-joiner between letters of a
/// script whose words are spelled with it, such as Persian and Hindi (RFC 5892 A.1 and A.2).
fn is_joiner_of_letters(before: &[char], after: &[char]) -> bool {
    // Arabic to Sinhala, Tibetan and Myanmar, Khmer and Mongolian. Whole blocks: between two
    // letters of one of these scripts a joiner cannot imitate another word in Latin.
    let is_in_joining_script = |c: char| {
        !is_deceptive_character(c)
            && matches!(c, '\u{0600}'..='\u{0DFF}' | '\u{0F00}'..='\u{109F}' | '\u{1780}'..='\u{18AF}')
    };
    match (before, after) {
        ([.., previous], ['\u{200C}' | '\u{200D}', next, ..]) => {
            is_in_joining_script(*previous) && is_in_joining_script(*next)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joiners_belong_to_emoji_and_to_words() {
        for text in [
            "👩‍💻 Ada",
            "Team 👨‍👩‍👧‍👦",
            "🤷🏽‍♂️",
            "❤️",
            "👩‍❤️‍👨",
            "1️⃣ first",
            "🏳️‍🌈",
            "🏴‍☠️",
            "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F} Edinburgh",
            "🇩🇪",
            "می\u{200C}خواهم",
            "क्\u{200D}ष",
            "ශ්\u{200D}රී",
            "Zoë O’Brien-Łukasz 李",
        ] {
            assert!(text.parse::<DisplayName>().is_ok(), "{text}");
        }
    }

    #[test]
    fn an_invisible_character_elsewhere_is_refused() {
        for text in [
            "ad\u{200D}min",
            "admin\u{200D}",
            "\u{200D}admin",
            "ad\u{200C}min",
            "admin\u{FE0F}",
            "1\u{FE0F}",
            "👩\u{200D}",
            "👩\u{200D}a",
            "a\u{200D}👩",
            "👩\u{200D}\u{200D}💻",
            "❤\u{FE0F}\u{FE0F}",
            "می\u{200C}",
            "می\u{200C}a",
            "admin\u{E0061}\u{E007F}",
            "🏴\u{E0067}",
            "🏴\u{E0067}\u{E007F}\u{E0067}\u{E007F}",
            "a\u{200B}b",
            "a\u{202E}b",
            "\u{2066}a",
            "a\u{AD}b",
            "a\nb",
        ] {
            assert!(text.parse::<DisplayName>().is_err(), "{text:?}");
        }
    }
}
