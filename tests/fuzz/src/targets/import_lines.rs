//! Lines of `POST /v1/import`.

use crate::{check::check_import, connection::Request, server::server};

pub fn run(input: &[u8]) -> Option<()> {
    let mut server = server();
    let body = server.expand(input);
    let request = Request::new("POST", "/v1/import").bearer(&server.admin).body("application/x-ndjson", body);
    let response = server.send(&request);
    assert_eq!(response.status, 200, "{response:?}");
    check_import(&response);
    Some(())
}
