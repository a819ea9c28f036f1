//! The test vectors of the draft, decoded and encoded.

use std::io::Read;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::read::ZlibDecoder;
use keyswap::{
    domain::status_lists::{StatusArray, StatusSize},
    service::status_lists::build::compress_zlib,
};
use serde_json::Value;

// Requirements: tsl-06.
#[test]
fn test_vectors_of_the_draft_are_decoded_and_encoded() {
    let file: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let bits = StatusSize::ALL.into_iter().find(|bits| u64::from(bits.count()) == vector["bits"]).unwrap();
        let size = u32::try_from(vector["size"].as_u64().unwrap()).unwrap();
        let given = URL_SAFE_NO_PAD.decode(vector["lst"].as_str().unwrap()).unwrap();
        let read = StatusArray::from_bytes(bits, inflate(&given));
        assert_eq!(read.len(), size as usize);
        let mut written = StatusArray::new(bits, size);
        for (index, status) in vector["statuses"].as_object().unwrap() {
            let (index, status) = (index.parse().unwrap(), u8::try_from(status.as_u64().unwrap()).unwrap());
            assert_eq!(read.get(index), Ok(status), "{bits:?} {index}");
            written.set(index, status).unwrap();
        }
        // All other statuses are 0, and the bytes equal those of the draft.
        assert_eq!(written, read, "{bits:?}");
        let packed = compress_zlib(written.as_bytes()).unwrap();
        assert_eq!(inflate(&packed), read.as_bytes());
        assert!(
            packed.len() < given.len() * 11 / 10,
            "{bits:?}: {} bytes, the draft has {}",
            packed.len(),
            given.len()
        );
        assert!(read.get(size).is_err(), "tsl-04: beyond the end is refused");
    }
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::new();
    ZlibDecoder::new(bytes).read_to_end(&mut inflated).unwrap();
    inflated
}
