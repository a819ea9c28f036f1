//! The canonical encoding of a stored row: the same bytes for the same values, and other bytes for
//! any other values. It is the associated data of the row's encryption (RFC 5116 §2.1), so that a
//! row that was altered in the database does not decrypt.

/// A row in its canonical encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRow(Vec<u8>);

impl EncodedRow {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Builds an `EncodedRow`. Every format is a fixed sequence of fields. A text is preceded by its
/// length and an optional value by a byte that says whether it is present, so no two sequences of
/// values have the same encoding.
#[derive(Debug)]
pub struct RowEncoder(Vec<u8>);

impl RowEncoder {
    /// `kind` names what the row is. `format` changes with every change of the sequence of fields.
    #[must_use]
    pub fn new(kind: &'static str, format: u8) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(format);
        Self(bytes).text(kind)
    }

    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    #[must_use]
    pub fn integer(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    #[must_use]
    pub fn digest(mut self, digest: &[u8; 32]) -> Self {
        self.0.extend_from_slice(digest);
        self
    }

    #[must_use]
    pub fn optional<T>(mut self, value: Option<T>, encode: impl FnOnce(Self, T) -> Self) -> Self {
        self.0.push(u8::from(value.is_some()));
        match value {
            Some(value) => encode(self, value),
            None => self,
        }
    }

    #[must_use]
    pub fn optional_text(self, text: Option<&str>) -> Self {
        self.optional(text, Self::text)
    }

    #[must_use]
    pub fn optional_integer(self, value: Option<i64>) -> Self {
        self.optional(value, Self::integer)
    }

    /// The number of values precedes them.
    #[must_use]
    pub fn list<T>(mut self, values: impl IntoIterator<Item = T>, encode: impl Fn(Self, T) -> Self) -> Self {
        let position = self.0.len();
        self = self.integer(0);
        let mut count = 0_u64;
        for value in values {
            self = encode(self, value);
            count += 1;
        }
        for (at, byte) in self.0.iter_mut().skip(position).zip(count.to_be_bytes()) {
            *at = byte;
        }
        self
    }

    pub fn finish(self) -> EncodedRow {
        EncodedRow(self.0)
    }
}
