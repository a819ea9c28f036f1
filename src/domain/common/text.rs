//! Macros for values that are texts. The declarations read like those of Rust; the last item of
//! each is the error of a text that is not valid.

/// Implements `Serialize` and `Deserialize` of a type with its `Display` and `FromStr`.
macro_rules! impl_serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Defines a validated string: a struct with the condition that a text must satisfy.
macro_rules! text_type {
    (
        $(#[$meta:meta])*
        pub struct $type:ident(|$text:ident| $is_valid:expr);

        $(#[$error_meta:meta])*
        pub struct $error:ident;
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        $crate::domain::common::text::valid_text!($type, $error = $error, |$text| $is_valid);

        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        $(#[$error_meta])*
        pub struct $error;
    };
}

/// Implements a struct that contains a text which meets a condition. `FromStr` returns `$error` for
/// other texts.
macro_rules! valid_text {
    ($type:ident, $error_type:ty = $error:expr, |$text:ident| $is_valid:expr) => {
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = $error_type;
            fn from_str($text: &str) -> Result<Self, $error_type> {
                let is_valid: bool = $is_valid;
                if is_valid { Ok(Self($text.to_owned())) } else { Err($error) }
            }
        }

        $crate::domain::common::text::display_as_str!($type);
        $crate::domain::common::text::impl_serde_as_text!($type);
    };
}

/// Implements `Display` of a type with its `as_str`.
macro_rules! display_as_str {
    ($type:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// Defines an enum with a text for each variant. If an error is declared, the enum is also read
/// from a text.
macro_rules! text_enum {
    (
        $(#[$meta:meta])*
        pub enum $type:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type { $($(#[$variant_meta])* $variant),+ }

        impl $type {
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
    (
        $(#[$meta:meta])*
        pub enum $type:ident { $($variants:tt)+ }

        $(#[$error_meta:meta])*
        pub struct $error:ident;
    ) => {
        $crate::domain::common::text::text_enum! { $(#[$meta])* pub enum $type { $($variants)+ } }

        impl std::str::FromStr for $type {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                Self::ALL.into_iter().find(|value| value.as_str() == text).ok_or($error)
            }
        }

        $crate::domain::common::text::display_as_str!($type);

        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        $(#[$error_meta])*
        pub struct $error;
    };
}

/// Defines a set of names, ordered by name: an array in the API, and names separated by one space
/// in the database and in tokens. Clones share the names, which never change.
macro_rules! name_set {
    (
        $(#[$meta:meta])*
        pub struct $set:ident(BTreeSet<$name:ident>), at most $max:ident;

        $(#[$error_meta:meta])*
        pub struct $error:ident;
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $set(std::sync::Arc<BTreeSet<$name>>);

        impl $set {
            pub fn contains(&self, name: &$name) -> bool {
                self.0.contains(name)
            }
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
            pub fn iter(&self) -> impl Iterator<Item = &$name> {
                self.0.iter()
            }
            pub fn from_stored(text: &str) -> Result<Self, <$name as std::str::FromStr>::Err> {
                text.split_ascii_whitespace().map(str::parse).collect()
            }
        }

        impl serde::Serialize for $set {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&*self.0, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $set {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let names = <BTreeSet<$name> as serde::Deserialize>::deserialize(deserializer)?;
                names.try_into().map_err(serde::de::Error::custom)
            }
        }

        impl TryFrom<BTreeSet<$name>> for $set {
            type Error = $error;
            fn try_from(names: BTreeSet<$name>) -> Result<Self, $error> {
                if names.len() > $max { Err($error) } else { Ok(Self(names.into())) }
            }
        }

        impl FromIterator<$name> for $set {
            fn from_iter<I: IntoIterator<Item = $name>>(names: I) -> Self {
                Self(std::sync::Arc::new(names.into_iter().collect()))
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                for (position, name) in self.0.iter().enumerate() {
                    if position > 0 {
                        f.write_str(" ")?;
                    }
                    f.write_str(name.as_str())?;
                }
                Ok(())
            }
        }

        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        $(#[$error_meta])*
        pub struct $error;
    };
}

pub(crate) use {display_as_str, impl_serde_as_text, name_set, text_enum, text_type, valid_text};
