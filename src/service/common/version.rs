//! `If-Match`: a change applies only to the version that the client has read.

use crate::service::Error;

pub(crate) fn require_version(version: i64, wanted: Option<i64>) -> Result<(), Error> {
    if wanted.is_some_and(|wanted| wanted != version) { Err(Error::VersionMismatch(version)) } else { Ok(()) }
}
