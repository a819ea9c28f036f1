//! Randomness as an argument: the rules receive a source, and never use a global generator.

/// A cryptographically secure source of random bytes. `crypto::random` contains the implementation.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`. On an error the caller must abandon the operation: nothing is generated from
    /// weak randomness.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to read random bytes from the operating system")]
pub struct EntropyUnavailable;
