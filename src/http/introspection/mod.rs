//! Requests of services about keys and tokens that they received.

pub mod check_access;
pub mod introspect;
pub mod revoke;
pub mod validate;

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// A value presented as a key, which is kept out of logs.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct PresentedValue(pub Zeroizing<String>);

impl From<String> for PresentedValue {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for PresentedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedValue(…)")
    }
}
