//! Compression of status lists: DEFLATE in the zlib format, as §4.1 of the draft requires, and gzip
//! as the content coding of responses.

use std::io::{self, Read, Write};

use flate2::{
    Compression,
    read::ZlibDecoder,
    write::{GzEncoder, ZlibEncoder},
};

pub fn compress_zlib(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Decompresses zlib data into at most `most` bytes, and fails if there is more: a few bytes from
/// an untrusted source could expand to gigabytes.
pub fn decompress_zlib(bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    ZlibDecoder::new(bytes).take(most + 1).read_to_end(&mut inflated)?;
    if u64::try_from(inflated.len()).is_ok_and(|length| length <= most) {
        Ok(inflated)
    } else {
        Err(io::Error::other("longer than it may be"))
    }
}

/// The output is identical on every replica: the header contains no name and no time.
pub fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
