//! The domain of Keyswap with its unit tests, and those tests of `tests/it` that are pure. The
//! package holds no rule of its own.

extern crate self as keyswap;

pub mod crypto;
#[path = "../../src/domain/mod.rs"]
pub mod domain;

#[cfg(test)]
#[path = "../it/properties/mod.rs"]
mod properties;
#[cfg(test)]
mod signing;
#[cfg(test)]
mod support;
