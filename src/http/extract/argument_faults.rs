//! The faults of several arguments of a handler, such as a path, a query and a body, in one
//! response.

use actix_web::Error;

use crate::{http::problem::Problem, service::InputFault};

/// The faults found so far. If the first argument that fails has faults in its fields, the
/// arguments after it are examined as well.
#[derive(Debug, Default)]
pub struct ArgumentFaults(Vec<InputFault>);

impl ArgumentFaults {
    /// Returns an argument, or `None` after keeping its faults. Any other error ends the request,
    /// unless there are faults of an earlier argument to report.
    pub fn collect<T>(&mut self, argument: Result<T, Error>) -> Result<Option<T>, Error> {
        let error = match argument {
            Ok(argument) => return Ok(Some(argument)),
            Err(error) => error,
        };
        match error.as_error::<Problem>().and_then(Problem::invalid_fields) {
            Some(faults) => self.0.extend_from_slice(faults),
            None if self.0.is_empty() => return Err(error),
            None => {}
        }
        Ok(None)
    }

    /// Returns the arguments if none of them failed.
    pub fn finish<T>(self, arguments: impl FnOnce() -> Option<T>) -> Result<T, Error> {
        arguments().ok_or_else(|| Problem::invalid(self.0).into())
    }
}
