//! Lists made small: DEFLATE in the format of zlib, as the draft has it (§4.1), and gzip for the way to a verifier.

use std::io::{self, Read, Write};

use flate2::{
    Compression,
    read::ZlibDecoder,
    write::{GzEncoder, ZlibEncoder},
};

/// # Errors
/// Writing to memory fails, which it does not.
pub fn deflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// What was deflated, `most` bytes of it: a few bytes of another's making could stand for gigabytes.
///
/// # Errors
/// It is no such thing, or longer.
pub fn inflate(bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    ZlibDecoder::new(bytes).take(most + 1).read_to_end(&mut inflated)?;
    if u64::try_from(inflated.len()).is_ok_and(|length| length <= most) {
        Ok(inflated)
    } else {
        Err(io::Error::other("longer than it may be"))
    }
}

/// The same bytes for the same input on every replica: no name, no time.
///
/// # Errors
/// Writing to memory fails, which it does not.
pub fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
