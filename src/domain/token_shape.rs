//! What the tokens of an audience look like: how they are signed, what their header says, and how claims are written. Verifiers
//! that cannot be changed expect one form or another.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::Serialize;

use super::{
    claim_map::{ClaimMap, WishedClaims},
    signing::Algorithm,
    time::as_text,
};

/// How the tokens of an audience are made. The default is an access token as RFC 9068 has it, signed as the deployment signs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenShape {
    /// Absent: the deployment's.
    pub algorithm: Option<Algorithm>,
    pub typ: Typ,
    pub scope_claim: ScopeClaim,
    pub aud_claim: AudClaim,
    pub claims: ClaimMap,
    pub status: StatusOf,
}

impl TokenShape {
    /// Whether one token can serve both: the algorithm is compared as it is in effect. Where one of them wants a status for each token,
    /// the token has it, which tells the other no less.
    pub fn agrees_with(&self, other: &Self, deployment: Algorithm) -> bool {
        let rest = |shape: &Self| (shape.scope_claim, shape.aud_claim);
        self.algorithm.unwrap_or(deployment) == other.algorithm.unwrap_or(deployment)
            && rest(self) == rest(other)
            && self.typ == other.typ
            && self.claims == other.claims
    }
}

/// The `typ` header: 1 to 64 of `A-Za-z0-9.+-`, with a `/` between two parts at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typ(Cow<'static, str>);

/// Other kinds of JWT: none of them may ever be taken for a token of ours, nor one of ours for them (RFC 8725 §3.11).
const RESERVED_TYPES: [&str; 6] =
    ["statuslist+jwt", "secevent+jwt", "token-introspection+jwt", "dpop+jwt", "logout+jwt", "oauth-authz-req+jwt"];

impl Typ {
    /// RFC 9068 §2.1: tells an access token from every other kind of JWT.
    pub const ACCESS_TOKEN: Self = Self(Cow::Borrowed("at+jwt"));
    /// RFC 9701 §5: what is said of a token, and never one itself.
    pub const INTROSPECTION: Self = Self(Cow::Borrowed("token-introspection+jwt"));
    /// A signed status list. No audience can have it, and it is never read back as a token.
    pub const STATUS_LIST: Self = Self(Cow::Borrowed("statuslist+jwt"));

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Typ {
    fn default() -> Self {
        Self::ACCESS_TOKEN
    }
}

impl FromStr for Typ {
    type Err = InvalidTyp;
    fn from_str(text: &str) -> Result<Self, InvalidTyp> {
        let shape = |byte: u8| byte.is_ascii_alphanumeric() || b".+/-".contains(&byte);
        let mut parts = text.split('/');
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(shape);
        if !is_name || parts.clone().count() > 2 || parts.any(str::is_empty) {
            return Err(InvalidTyp::Shape);
        }
        // Media types are the same in any case, and `application/` may be left out (RFC 7515 §4.1.9).
        let lower = text.to_ascii_lowercase();
        if RESERVED_TYPES.contains(&lower.strip_prefix("application/").unwrap_or(&lower)) {
            return Err(InvalidTyp::Reserved);
        }
        Ok(if text == Self::ACCESS_TOKEN.as_str() { Self::ACCESS_TOKEN } else { Self(Cow::Owned(text.to_owned())) })
    }
}

impl fmt::Display for Typ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
as_text!(Typ);

/// A text that cannot be the `typ` of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTyp {
    #[error(
        "a typ is a media type, or the last part of one, such as at+jwt or JWT: 1 to 64 of A-Z, a-z, 0-9, '.', '+', '-' and one '/'"
    )]
    Shape,
    #[error("this typ belongs to another kind of token")]
    Reserved,
}

macro_rules! choices {
    ($(#[$meta:meta])* $type:ident, $invalid:ident, $message:literal: $($(#[$doc:meta])* $variant:ident = $name:literal),+) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub enum $type { $($(#[$doc])* $variant),+ }

        impl $type {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl FromStr for $type {
            type Err = $invalid;
            fn from_str(text: &str) -> Result<Self, $invalid> {
                match text { $($name => Ok(Self::$variant),)+ _ => Err($invalid) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        as_text!($type);

        /// Another text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error($message)]
        pub struct $invalid;
    };
}

choices! {
    /// Where a token says what it allows.
    ScopeClaim, InvalidScopeClaim, "the scope_claim is scope (one string) or scp (an array)":
    /// `scope`, one string (RFC 9068 §2.2.3).
    #[default]
    Scope = "scope",
    /// `scp`, an array of strings.
    Scp = "scp"
}

choices! {
    /// How a token writes its audience (RFC 7519 §4.1.3 allows both).
    AudClaim, InvalidAudClaim, "the aud_claim is string or array":
    /// One string where there is one audience, since some verifiers take no array.
    #[default]
    Text = "string",
    /// Always an array.
    Array = "array"
}

choices! {
    /// Whose status a token points at.
    StatusOf, InvalidStatusOf, "the status is credential (all tokens of one fall together) or token (each has its own)":
    /// That of the credential it was minted from: its tokens fall together, and minting one writes nothing.
    #[default]
    Credential = "credential",
    /// Its own: revoking one token shows to whoever reads the list. Each exchange writes a row.
    Token = "token"
}

/// One thing that is wrong with a shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShapeFault {
    pub field: String,
    pub message: String,
}

impl ShapeFault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// What a client wants of a shape, before it is looked at: so that all of its faults can be told at once. Absent members stay
/// as they are, `null` is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WishedShape {
    pub algorithm: Option<Option<String>>,
    pub typ: Option<Option<String>>,
    pub scope_claim: Option<Option<String>>,
    pub aud_claim: Option<Option<String>>,
    pub claims: Option<Option<WishedClaims>>,
    pub status: Option<Option<String>>,
}

impl WishedShape {
    /// Whether nothing is wished.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The shape that `before` becomes.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn applied_to(self, before: &TokenShape) -> Result<TokenShape, Vec<ShapeFault>> {
        let (mut shape, mut faults) = (before.clone(), Vec::new());
        if let Some(wished) = self.algorithm {
            shape.algorithm = read("algorithm", wished, &mut faults);
        }
        if let Some(wished) = self.typ {
            shape.typ = read("typ", wished, &mut faults).unwrap_or_default();
        }
        if let Some(wished) = self.scope_claim {
            shape.scope_claim = read("scope_claim", wished, &mut faults).unwrap_or_default();
        }
        if let Some(wished) = self.aud_claim {
            shape.aud_claim = read("aud_claim", wished, &mut faults).unwrap_or_default();
        }
        if let Some(wished) = self.status {
            shape.status = read("status", wished, &mut faults).unwrap_or_default();
        }
        if let Some(wished) = self.claims {
            match wished.unwrap_or_default().read() {
                Ok(claims) => shape.claims = claims,
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(shape) } else { Err(faults) }
    }
}

fn read<T: FromStr<Err: fmt::Display>>(field: &str, wished: Option<String>, faults: &mut Vec<ShapeFault>) -> Option<T> {
    match wished?.parse() {
        Ok(value) => Some(value),
        Err(fault) => {
            faults.push(ShapeFault::new(field, T::Err::to_string(&fault)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typ_is_no_other_kind_of_token() {
        for text in ["at+jwt", "JWT", "application/at+jwt", "vnd.example.v1+jwt", "a", &"a".repeat(64)] {
            assert_eq!(text.parse::<Typ>().unwrap().as_str(), text);
        }
        for reserved in RESERVED_TYPES {
            for text in [
                reserved.to_owned(),
                reserved.to_ascii_uppercase(),
                format!("application/{reserved}"),
                format!("Application/{reserved}"),
            ] {
                assert_eq!(text.parse::<Typ>(), Err(InvalidTyp::Reserved), "{text}");
            }
        }
        for text in ["", "/", "a/", "/a", "a/b/c", "a b", "a_b", "a\"", "ä", "a;v=1", &"a".repeat(65)] {
            assert_eq!(text.parse::<Typ>(), Err(InvalidTyp::Shape), "{text}");
        }
    }

    #[test]
    fn an_algorithm_agrees_with_the_same_one_by_default() {
        let plain = TokenShape::default();
        let named = TokenShape { algorithm: Some(Algorithm::Es256), ..TokenShape::default() };
        assert!(plain.agrees_with(&named, Algorithm::Es256) && named.agrees_with(&plain, Algorithm::Es256));
        assert!(!plain.agrees_with(&named, Algorithm::EdDsa));
        for other in [
            TokenShape { typ: "JWT".parse().unwrap(), ..TokenShape::default() },
            TokenShape { scope_claim: ScopeClaim::Scp, ..TokenShape::default() },
            TokenShape { aud_claim: AudClaim::Array, ..TokenShape::default() },
            TokenShape { claims: r#"{"a":"user.metadata.a"}"#.parse().unwrap(), ..TokenShape::default() },
        ] {
            assert!(
                other.agrees_with(&other.clone(), Algorithm::Es256) && !plain.agrees_with(&other, Algorithm::Es256)
            );
        }
    }

    #[test]
    fn a_wish_tells_all_that_is_wrong_with_it() {
        let wrong = || Some(Some("x y".to_owned()));
        let wish = WishedShape {
            algorithm: wrong(),
            typ: wrong(),
            scope_claim: wrong(),
            aud_claim: wrong(),
            claims: None,
            status: wrong(),
        };
        let faults = wish.applied_to(&TokenShape::default()).unwrap_err();
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["algorithm", "typ", "scope_claim", "aud_claim", "status"]);
        let shaped =
            TokenShape { typ: "JWT".parse().unwrap(), algorithm: Some(Algorithm::Rs256), ..TokenShape::default() };
        assert_eq!(WishedShape::default().applied_to(&shaped).unwrap(), shaped);
        let back = WishedShape { algorithm: Some(None), typ: Some(None), ..WishedShape::default() };
        assert_eq!(back.applied_to(&shaped).unwrap(), TokenShape::default());
    }
}
