//! Whole connections: what a client sends until it closes its side.

use crate::{
    connection::{Request, send_raw},
    server::server,
};

pub fn run(input: &[u8]) -> Option<()> {
    let server = server();
    let bytes = server.expand(input);
    // The response to HEAD has no body, so that the next response could not be found. A request for
    // events may ask to wait for the next one.
    let contains = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    if contains(b"HEAD") || contains(b"wait") {
        return None;
    }
    let responses = send_raw(server.address, &bytes);
    // Whichever path it was.
    let request = Request::new("GET", "/v1/status-lists/");
    responses.iter().for_each(|response| server.check(&request, response));
    Some(())
}
