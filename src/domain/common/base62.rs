//! Base62 with the alphabet `0-9A-Za-z`, as in the tokens of GitHub and others. It requires no
//! escaping, and a double click selects the whole text.

use crate::domain::common::entropy::Entropy;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Encodes `value` in exactly six digits, left-padded with `0`. 62⁶ exceeds 2³², so every checksum
/// fits.
pub fn encode_six_digits(value: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    let mut rest = value as usize;
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    digits
}

/// Returns the value of at most ten digits. Other characters count as zero.
pub fn decode(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'a'..=b'z' => digit - b'a' + 36,
            _ => 0,
        };
        value * 62 + i64::from(digit)
    })
}

pub fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns `length` uniformly distributed digits. Bytes of 248 and above are discarded, because
/// they would favor the first eight digits.
pub fn generate_digits(
    entropy: &dyn Entropy,
    length: usize,
) -> Result<zeroize::Zeroizing<String>, crate::domain::common::entropy::EntropyUnavailable> {
    let mut text = zeroize::Zeroizing::new(String::with_capacity(length));
    let mut bytes = zeroize::Zeroizing::new([0_u8; 64]);
    while text.len() < length {
        entropy.fill(bytes.as_mut())?;
        for byte in bytes.iter().filter(|byte| **byte < 248) {
            if text.len() < length {
                text.push(char::from(ALPHABET[usize::from(*byte) % 62]));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gh_01_the_checksum_is_written_as_github_writes_it() {
        assert_eq!(&encode_six_digits(crc32fast::hash(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")), b"0mLq17");
        assert_eq!(&encode_six_digits(0), b"000000");
        assert_eq!(&encode_six_digits(u32::MAX), b"4gfFC3");
    }

    #[test]
    fn decode_is_the_inverse_of_encode() {
        for value in [0, 61, 62, 3_843, 4_294_967_295] {
            assert_eq!(decode(&encode_six_digits(u32::try_from(value).unwrap())), value);
        }
        assert_eq!(decode(b"zzzzzzzzzz"), 839_299_365_868_340_223, "62¹⁰ - 1");
    }
}
