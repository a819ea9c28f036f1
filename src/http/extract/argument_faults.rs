//! The faults of several arguments of a handler, such as a path, a query and a body, in one
//! response.

use actix_web::Error;

use crate::{http::problem::Problem, service::InputFault};

/// Maximum number of faults that are listed of one argument.
pub const MAX_FAULTS: usize = 32;

/// The faults found so far. If the first argument that fails has faults in its fields, the
/// arguments after it are examined as well.
#[derive(Debug, Default)]
pub struct ArgumentFaults(Vec<InputFault>);

impl ArgumentFaults {
    /// Returns an argument, or `None` after keeping its faults. Any other error ends the request
    /// without the faults found so far, because it may have to close the connection.
    pub fn collect<T>(&mut self, argument: Result<T, Error>) -> Result<Option<T>, Error> {
        let error = match argument {
            Ok(argument) => return Ok(Some(argument)),
            Err(error) => error,
        };
        let Some(faults) = error.as_error::<Problem>().and_then(Problem::invalid_fields) else { return Err(error) };
        self.0.extend_from_slice(faults);
        Ok(None)
    }

    /// Returns the arguments if none of them failed.
    pub fn finish<T>(self, arguments: impl FnOnce() -> Option<T>) -> Result<T, Error> {
        arguments().ok_or_else(|| Problem::invalid(self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;

    use super::*;
    use crate::http::extract::body::BodyError;

    #[test]
    fn an_error_that_is_no_fault_of_a_field_precedes_the_faults() {
        let invalid = |field: &str| -> Result<(), Error> { Err(Problem::invalid_field(field, "is wrong").into()) };
        for (error, status) in [
            (BodyError::TooSlow, StatusCode::REQUEST_TIMEOUT),
            (BodyError::TooLarge(1), StatusCode::PAYLOAD_TOO_LARGE),
            (BodyError::Broken, StatusCode::BAD_REQUEST),
        ] {
            let mut faults = ArgumentFaults::default();
            assert!(faults.collect(invalid("name")).unwrap().is_none());
            let error = faults.collect::<()>(Err(Problem::from(error).into())).unwrap_err();
            let response = error.error_response();
            assert_eq!(response.status(), status);
            assert!(!response.keep_alive(), "{status} leaves an unread body");
        }
        let mut faults = ArgumentFaults::default();
        assert!(faults.collect(invalid("a")).unwrap().is_none() && faults.collect(invalid("b")).unwrap().is_none());
        let error = faults.finish(|| None::<()>).unwrap_err();
        assert_eq!(error.as_error::<Problem>().unwrap().invalid_fields().unwrap().len(), 2);
    }
}
