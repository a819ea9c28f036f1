//! Limits of a key: what it cannot exceed, whatever its permissions are.

use crate::domain::{
    access::audience::Identifier,
    common::time::{Span, Timestamp},
};

/// Limits of a key besides its permissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyLimits {
    pub expires_at: Option<Timestamp>,
    pub max_token_ttl: Option<Span>,
    pub exchanges_per_minute: Option<u32>,
    pub audiences: Option<Vec<Identifier>>,
    pub record_bound: bool,
}

impl KeyLimits {
    /// Returns the fields in which `other` exceeds these limits: a later expiration, a longer token
    /// lifetime, more exchanges per minute, additional audiences, or no bound by access records.
    pub fn fields_exceeded_by(&self, other: &Self) -> Vec<&'static str> {
        fn longer<T: PartialOrd>(own: Option<T>, other: Option<T>) -> bool {
            own.is_some_and(|own| other.is_none_or(|other| other > own))
        }
        let further = match (&self.audiences, &other.audiences) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(own), Some(other)) => other.iter().any(|audience| !own.contains(audience)),
        };
        let members = [
            ("expires_at", longer(self.expires_at, other.expires_at)),
            ("max_token_ttl", longer(self.max_token_ttl, other.max_token_ttl)),
            ("exchanges_per_minute", longer(self.exchanges_per_minute, other.exchanges_per_minute)),
            ("audiences", further),
            ("record_bound", self.record_bound && !other.record_bound),
        ];
        members.into_iter().filter_map(|(name, exceeds)| exceeds.then_some(name)).collect()
    }
}
