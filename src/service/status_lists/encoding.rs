//! Compression of status lists: DEFLATE in the zlib format, as §4.1 of the draft requires.

use std::io::{self, Write};

use flate2::{Compression, write::ZlibEncoder};

pub fn compress_zlib(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
