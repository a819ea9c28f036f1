//! Misspelled parameters. OAuth endpoints and public documents ignore unknown parameters
//! (RFC 6749 §3.2). A parameter that restricts the response must not be ignored because of its
//! spelling: the client would get more than it asked for.

/// Parameters of the OAuth endpoints that restrict what a client gets, or that Keyswap refuses.
pub const RESTRICTING: [&str; 8] = [
    "scope",
    "audience",
    "resource",
    "expires_in",
    "requested_token_type",
    "authorization_details",
    "actor_token",
    "client_assertion",
];

/// Returns the parameter of `known` that `name` resembles without being equal to any of them: with
/// another case, separator or number, or with brackets. `aud` is the name of the claim.
pub fn find_resembled<'a>(known: &[&'a str], name: &str) -> Option<&'a str> {
    if known.contains(&name) {
        return None;
    }
    let folded = match fold(name).as_str() {
        "aud" => "audience".to_owned(),
        folded => folded.to_owned(),
    };
    known.iter().copied().find(|known| fold(known) == folded)
}

/// The letters and digits of a name up to the first bracket, in lower case and without a final `s`.
fn fold(name: &str) -> String {
    let name = name.split(['[', '(', '{']).next().unwrap_or_default();
    let folded: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let folded = folded.to_ascii_lowercase();
    folded.strip_suffix('s').map(str::to_owned).unwrap_or(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_parameters_are_found() {
        for (name, expected) in [
            ("scope[]", "scope"),
            ("scope[0]", "scope"),
            ("scopes", "scope"),
            ("Scope", "scope"),
            (" scope", "scope"),
            ("audience[]", "audience"),
            ("audiences", "audience"),
            ("aud", "audience"),
            ("AUD[]", "audience"),
            ("resource[]", "resource"),
            ("Resources", "resource"),
            ("expiresIn", "expires_in"),
            ("expires-in", "expires_in"),
            ("authorization_detail", "authorization_details"),
        ] {
            assert_eq!(find_resembled(&RESTRICTING, name), Some(expected), "{name}");
        }
        for name in RESTRICTING.into_iter().chain(["", "s", "[]", "scoped", "client_id", "username", "state"]) {
            assert_eq!(find_resembled(&RESTRICTING, name), None, "{name}");
        }
    }
}
