//! Splits bytes into lines of bounded length.

/// Maximum length of a line in bytes, equal to the body limit of a PUT.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// The line being read.
#[derive(Debug, Default)]
pub struct Lines {
    number: u64,
    text: Vec<u8>,
    too_long: bool,
}

/// A line that was skipped because it exceeds `MAX_LINE_BYTES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong;

impl Lines {
    /// Appends bytes to the current line. A line that is too long is not kept in memory.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.too_long || self.text.len() + bytes.len() > MAX_LINE_BYTES {
            self.too_long = true;
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    /// Ends the current line. Returns its number, starting at 1, and its text.
    pub fn end(&mut self) -> (u64, Result<Vec<u8>, LineTooLong>) {
        self.number += 1;
        let text = std::mem::take(&mut self.text);
        let too_long = std::mem::take(&mut self.too_long);
        (self.number, if too_long { Err(LineTooLong) } else { Ok(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_line_is_skipped_and_the_next_is_read() {
        let mut lines = Lines::default();
        lines.push(b"a");
        lines.push(b"b");
        assert_eq!(lines.end(), (1, Ok(b"ab".to_vec())));
        lines.push(&vec![b'x'; MAX_LINE_BYTES]);
        assert_eq!(lines.end().1.map(|text| text.len()), Ok(MAX_LINE_BYTES));
        for _ in 0..3 {
            lines.push(&vec![b'x'; MAX_LINE_BYTES / 2]);
        }
        assert!(lines.text.capacity() == 0, "nothing of it is kept");
        assert_eq!(lines.end(), (3, Err(LineTooLong)));
        assert_eq!(lines.end(), (4, Ok(Vec::new())));
    }
}
