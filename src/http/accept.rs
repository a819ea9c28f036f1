//! Negotiation between a default media type and one that the client must name (RFC 9110 §12.5.1).

use actix_web::http::header::{ACCEPT, HeaderMap};

/// Returns whether `Accept` names `wanted` with a non-zero weight that is not lower than the weight
/// of `default`.
pub fn prefers(headers: &HeaderMap, wanted: &str, default: &str) -> bool {
    let values = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let (mut of_wanted, mut of_default) = (0.0_f32, 0.0_f32);
    for value in values {
        let (name, parameters) = value.split_once(';').unwrap_or((value, ""));
        let weight = parameters.split(';').find_map(parse_weight).unwrap_or(1.0);
        // A media type may occur several times, with other versions.
        if name.trim().eq_ignore_ascii_case(wanted) {
            of_wanted = of_wanted.max(weight);
        } else if name.trim().eq_ignore_ascii_case(default) {
            of_default = of_default.max(weight);
        }
    }
    of_wanted > 0.0 && of_wanted >= of_default
}

/// Returns the weight if a parameter is a valid one. The names of parameters are case-insensitive.
fn parse_weight(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let weight: f32 = value.trim().parse().ok()?;
    (name.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&weight)).then_some(weight)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn other_type_is_chosen_only_if_accept_prefers_it() {
        for (accept, expected) in [
            ("application/token-introspection+jwt", true),
            ("Application/Token-Introspection+JWT; q=0.5", true),
            ("application/json, application/token-introspection+jwt", true),
            ("application/json;q=0.9,application/token-introspection+jwt;q=0.8", false),
            ("application/token-introspection+jwt;q=0", false),
            ("application/token-introspection+jwt; Q=0", false),
            ("application/token-introspection+jwt;q=0.9,application/json;q=nan", false),
            ("application/json,application/token-introspection+jwt;q=5", true),
            ("application/token-introspection+jwt,application/json;q=5", true),
            ("application/json", false),
            ("*/*", false),
            ("application/jwt", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(
                prefers(&headers, "application/token-introspection+jwt", "application/json"),
                expected,
                "{accept}"
            );
        }
        assert!(!prefers(&HeaderMap::new(), "application/token-introspection+jwt", "application/json"));
        // Prometheus 3.
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(prometheus));
        assert!(prefers(&headers, "application/openmetrics-text", "text/plain"));
    }
}
