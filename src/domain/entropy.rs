//! Randomness as an argument: the rules ask for it here and never reach for a global generator.

/// A cryptographically secure source of random bytes; `crypto::random` holds the real one.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`, or fails and leaves the caller to refuse the work: nothing is ever made from weak randomness.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoEntropy;
