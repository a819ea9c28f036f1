//! Enums whose values have a fixed text form.

/// Implements `ALL` and `as_str` of an enum, and `FromStr` if an error for other texts is named.
macro_rules! impl_text_enum {
    ($type:ident, $error:ident: $($variant:ident = $text:literal),+ $(,)?) => {
        $crate::domain::common::text_enum::impl_text_enum!($type: $($variant = $text),+);

        impl std::str::FromStr for $type {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                Self::ALL.into_iter().find(|value| value.as_str() == text).ok_or($error)
            }
        }
    };
    ($type:ident: $($variant:ident = $text:literal),+ $(,)?) => {
        impl $type {
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}
pub(crate) use impl_text_enum;
