//! The faults that the proxy injects, and how often.

use std::time::Duration;

/// Longer than a statement, and an operation with its wait for a connection, may take in these
/// tests.
pub const STALL: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SQLSTATE 40001 in place of the answer.
    SerializationFailure,
    /// 40P01 in place of the answer.
    Deadlock,
    /// 25006 in place of the answer.
    ReadOnly,
    /// 57P01 in place of the answer, and the end of the connection.
    Termination,
    /// The connection ends without an answer.
    LostAnswer,
    /// The connection ends in the middle of the answer.
    HalfAnswer,
    /// The request or its answer arrives after `STALL`.
    Stall,
    /// The request arrives up to 50 ms late.
    Delay,
}

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::SerializationFailure,
        Self::Deadlock,
        Self::ReadOnly,
        Self::Termination,
        Self::LostAnswer,
        Self::HalfAnswer,
        Self::Stall,
        Self::Delay,
    ];

    /// The SQLSTATE and the text of an error after which the connection stays open.
    pub const fn error(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::SerializationFailure => Some(("40001", "could not serialize access due to concurrent update")),
            Self::Deadlock => Some(("40P01", "deadlock detected")),
            Self::ReadOnly => Some(("25006", "cannot execute UPDATE in a read-only transaction")),
            Self::Termination | Self::LostAnswer | Self::HalfAnswer | Self::Stall | Self::Delay => None,
        }
    }

    /// Whether the transaction has certainly not committed, so that Keyswap repeats it.
    pub const fn is_retried(self) -> bool {
        matches!(self, Self::SerializationFailure | Self::Deadlock)
    }

    /// One in how many commits is disturbed, and one in how many other requests.
    pub const fn odds(self) -> (u64, u64) {
        match self {
            Self::Stall => (6, 300),
            Self::Delay => (3, 5),
            Self::SerializationFailure
            | Self::Deadlock
            | Self::ReadOnly
            | Self::Termination
            | Self::LostAnswer
            | Self::HalfAnswer => (6, 60),
        }
    }

    /// How many requests at least are disturbed in each window, and how many commits among them.
    pub const fn least(self) -> (usize, usize) {
        if matches!(self, Self::Stall) { (3, 1) } else { (10, 2) }
    }
}
