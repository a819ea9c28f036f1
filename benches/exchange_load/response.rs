//! HTTP responses: the status, the length and the body, and nothing else.

use std::io;

/// The status of a response.
pub fn status(answer: &[u8]) -> io::Result<u16> {
    let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    status.ok_or_else(|| io::Error::other("an answer without a status"))
}

/// The length of a response, head and body. `None` until the head is complete.
pub fn length(answer: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = head_length(answer) else { return Ok(None) };
    let name = b"content-length: ";
    let body = answer[..head].split(|byte| *byte == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then(|| std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok())?
    });
    body.map(|body| Some(head + body)).ok_or_else(|| io::Error::other("an answer without a length"))
}

/// The body of a response. It is empty until the head is complete.
pub fn body_of(answer: &[u8]) -> &[u8] {
    &answer[head_length(answer).unwrap_or(answer.len())..]
}

fn head_length(answer: &[u8]) -> Option<usize> {
    Some(answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}
