//! Randomness for the generators of `properties`.

#[path = "../../src/crypto/random.rs"]
pub mod random;
