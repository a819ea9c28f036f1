//! Status lists (draft-ietf-oauth-status-list-21): the status of tokens as a public array of bits.
//! The code here is pure: compression and signing are done elsewhere.

use std::fmt;

use serde::Serialize;

use crate::domain::{
    common::{id::StatusListId, text::text_enum},
    credentials::api_key::KeyState,
};

/// Number of indexes of a new list.
pub const NEW_LIST_SIZE: u32 = 1 << 17;

/// Status of a token (§7.1 of the draft). The order is that of severity, from lowest to highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenStatus {
    Valid,
    /// Temporary: the key is suspended, or its user is blocked.
    Suspended,
    /// Permanent.
    Invalid,
}

impl TokenStatus {
    /// Returns the value that is written into the list, in two bits.
    pub const fn value(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Suspended => 2,
        }
    }
}

impl From<KeyState> for TokenStatus {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Active => Self::Valid,
            KeyState::Suspended => Self::Suspended,
            KeyState::Revoked | KeyState::Expired => Self::Invalid,
        }
    }
}

text_enum! {
    /// Whether the indexes of a list belong to credentials or to tokens.
    pub enum StatusListKind {
        Credential = "credential",
        Token = "token",
    }
}

/// Position of a status: a list, and an index in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusListIndex {
    pub list: StatusListId,
    pub index: u32,
}

impl StatusListId {
    /// Returns the URI of the list, which is also the `sub` claim of the list.
    pub fn uri(&self, issuer: &str) -> String {
        format!("{issuer}/v1/status-lists/{self}")
    }
}

/// Number of bits of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "u8")]
pub enum StatusSize {
    One,
    Two,
    Four,
    Eight,
}

impl StatusSize {
    /// Size of a status in the lists of Keyswap, which distinguish valid, invalid and suspended.
    pub const DEFAULT: Self = Self::Two;
    pub const ALL: [Self; 4] = [Self::One, Self::Two, Self::Four, Self::Eight];

    pub const fn count(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

impl From<StatusSize> for u8 {
    fn from(bits: StatusSize) -> Self {
        bits.count()
    }
}

/// The statuses of a list, from the least to the most significant bits of each byte (§4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct StatusArray {
    bits: StatusSize,
    bytes: Vec<u8>,
}

impl fmt::Debug for StatusArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statuses({} of {:?})", self.len(), self.bits)
    }
}

/// Returned for an index beyond the end of a list, or for a status that its bits cannot represent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("outside of the list")]
pub struct StatusOutOfRange;

impl StatusArray {
    /// Creates a list of `size` statuses, each of them 0. The size is rounded up to whole bytes.
    pub fn new(bits: StatusSize, size: u32) -> Self {
        let bytes = (u64::from(size) * u64::from(bits.count())).div_ceil(8);
        Self { bits, bytes: vec![0; usize::try_from(bytes).unwrap_or_default()] }
    }

    pub const fn from_bytes(bits: StatusSize, bytes: Vec<u8>) -> Self {
        Self { bits, bytes }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the number of statuses, including those that fill the last byte.
    pub fn len(&self) -> usize {
        self.bytes.len() * 8 / usize::from(self.bits.count())
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn get(&self, index: u32) -> Result<u8, StatusOutOfRange> {
        let (at, shift) = self.position(index);
        let byte = self.bytes.get(at).ok_or(StatusOutOfRange)?;
        Ok(byte >> shift & self.status_mask())
    }

    pub fn set(&mut self, index: u32, status: u8) -> Result<(), StatusOutOfRange> {
        let ((at, shift), status_mask) = (self.position(index), self.status_mask());
        if status > status_mask {
            return Err(StatusOutOfRange);
        }
        let byte = self.bytes.get_mut(at).ok_or(StatusOutOfRange)?;
        *byte = *byte & !(status_mask << shift) | status << shift;
        Ok(())
    }

    /// Sets the status unless the current one is more severe.
    pub fn set_if_more_severe(&mut self, index: u32, status: TokenStatus) -> Result<(), StatusOutOfRange> {
        let current = self.get(index)?;
        let is_more_severe = [TokenStatus::Suspended, TokenStatus::Invalid]
            .into_iter()
            .any(|one| one.value() == current && one > status);
        if is_more_severe { Ok(()) } else { self.set(index, status.value()) }
    }

    const fn status_mask(&self) -> u8 {
        u8::MAX >> (8 - self.bits.count())
    }

    /// Returns the index of the byte, and the offset from its least significant bit.
    fn position(&self, index: u32) -> (usize, u8) {
        let bit = u64::from(index) * u64::from(self.bits.count());
        (usize::try_from(bit / 8).unwrap_or(usize::MAX), u8::try_from(bit % 8).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn the_examples_of_the_draft_are_packed_as_it_says() {
        // §4.1: 16 one-bit statuses and 12 two-bit statuses.
        let mut one = StatusArray::new(StatusSize::One, 16);
        for (index, status) in (0..).zip([1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]) {
            one.set(index, status).unwrap();
        }
        assert_eq!(one.as_bytes(), [0xB9, 0xA3]);
        let mut two = StatusArray::new(StatusSize::Two, 12);
        for (index, status) in (0..).zip([1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]) {
            two.set(index, status).unwrap();
        }
        assert_eq!(two.as_bytes(), [0xC9, 0x44, 0xF9]);
    }

    #[test]
    fn most_severe_status_is_kept() {
        for (first, then, stays) in [
            (TokenStatus::Valid, TokenStatus::Suspended, TokenStatus::Suspended),
            (TokenStatus::Suspended, TokenStatus::Invalid, TokenStatus::Invalid),
            (TokenStatus::Invalid, TokenStatus::Suspended, TokenStatus::Invalid),
            (TokenStatus::Suspended, TokenStatus::Valid, TokenStatus::Suspended),
        ] {
            let mut list = StatusArray::new(StatusSize::DEFAULT, 8);
            list.set_if_more_severe(5, first).unwrap();
            list.set_if_more_severe(5, then).unwrap();
            assert_eq!(list.get(5), Ok(stays.value()), "{first:?} then {then:?}");
        }
        assert_eq!(
            StatusArray::new(StatusSize::DEFAULT, 8).set_if_more_severe(8, TokenStatus::Valid),
            Err(StatusOutOfRange)
        );
    }

    proptest! {
        #[test]
        fn set_status_is_read_back_and_others_are_unchanged(
            bits in prop::sample::select(StatusSize::ALL.to_vec()),
            size in 1..200_u32,
            given in vec((0..300_u32, any::<u8>()), 0..50),
        ) {
            let mut list = StatusArray::new(bits, size);
            let mut expected = vec![0; list.len()];
            prop_assert!(list.len() >= size as usize && list.len() < size as usize + 8);
            for (index, status) in given {
                let before = list.clone();
                let fits = u32::from(status) < 1 << bits.count();
                match expected.get_mut(index as usize).filter(|_| fits) {
                    Some(place) => {
                        prop_assert_eq!(list.set(index, status), Ok(()));
                        *place = status;
                    }
                    None => {
                        prop_assert_eq!(list.set(index, status), Err(StatusOutOfRange));
                        prop_assert_eq!(&list, &before);
                    }
                }
            }
            for (index, status) in (0..).zip(&expected) {
                prop_assert_eq!(list.get(index), Ok(*status));
            }
            prop_assert_eq!(list.get(u32::try_from(expected.len()).unwrap()), Err(StatusOutOfRange));
            prop_assert_eq!(list.get(u32::MAX), Err(StatusOutOfRange));
        }
    }
}
