//! Templates of resource patterns, with places for the ids of a user and an organization.

use crate::domain::{
    access::resource::ResourcePattern,
    common::{
        id::{OrganizationId, UserId},
        percent_encoding::encode_segment,
        text::text_type,
    },
};

const USER: &str = "{user}";
const ORGANIZATION: &str = "{organization}";

text_type! {
    /// A resource pattern in which `{user}` or `{organization}` stand for whole parts of the path.
    pub struct ResourceTemplate(|text| {
        let has_place = text.split('/').any(|part| [USER, ORGANIZATION].contains(&part));
        // A wildcard is a part of the path, and neither scheme nor host.
        has_place && fill(text, Some("*"), Some("*")).is_some()
    });

    #[error("a template is a resource pattern with {{user}} or {{organization}} as a whole part of the path, such as /users/{{user}}/*")]
    pub struct InvalidResourceTemplate;
}

impl ResourceTemplate {
    /// Returns whether the pattern belongs to one user, and not to an organization as a whole.
    pub fn names_user(&self) -> bool {
        self.0.split('/').any(|part| part == USER)
    }

    /// Returns the pattern for these ids, which are percent-encoded. Returns `None` if an id is
    /// missing, or if the pattern would be too long.
    pub fn pattern(&self, user: Option<&UserId>, organization: Option<&OrganizationId>) -> Option<ResourcePattern> {
        let user = user.map(|id| encode_segment(id.as_str()).to_string());
        let organization = organization.map(|id| encode_segment(id.as_str()).to_string());
        fill(&self.0, user.as_deref(), organization.as_deref())
    }
}

fn fill(template: &str, user: Option<&str>, organization: Option<&str>) -> Option<ResourcePattern> {
    let part = |part| match part {
        USER => user,
        ORGANIZATION => organization,
        other => Some(other),
    };
    let parts: Option<Vec<_>> = template.split('/').map(part).collect();
    parts?.join("/").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::common::id::{KeyId, ServiceClientId};

    fn pattern(template: &str, user: &str, organization: Option<&str>) -> Option<String> {
        let template: ResourceTemplate = template.parse().unwrap();
        let organization = organization.map(|id| id.parse().unwrap());
        template.pattern(Some(&user.parse().unwrap()), organization.as_ref()).map(|pattern| pattern.to_string())
    }

    #[test]
    fn ids_enter_a_pattern_percent_encoded() {
        assert_eq!(pattern("/users/{user}/*", "alice", None).unwrap(), "/users/alice/*");
        assert_eq!(pattern("/users/{user}/*", "auth0|a@b.c:d", None).unwrap(), "/users/auth0%7Ca%40b.c%3Ad/*");
        let both = "https://files.example/{organization}/{user}/*";
        assert_eq!(pattern(both, "a..", Some("x_-")).unwrap(), "https://files.example/x_-/a../*");
        assert_eq!(pattern(both, "alice", None), None, "no organization");
        assert_eq!(pattern("/{user}", "spiffe://td/a b", None).unwrap(), "/spiffe%3A%2F%2Ftd%2Fa%20b");
        let long = "|".repeat(255);
        assert!(pattern("/organizations/{organization}/users/{user}/*", &long, Some(&long)).is_some());
        assert_eq!(pattern(&format!("/{}/{{user}}", "x".repeat(1400)), &long, None), None, "too long");
    }

    /// Every character of every kind of id: the wildcard is not accepted, and each accepted one
    /// gives a pattern of its own.
    #[test]
    fn no_character_of_an_id_has_a_meaning_in_a_pattern() {
        let template: ResourceTemplate = "/{organization}/{user}/*".parse().unwrap();
        let mut patterns: Vec<ResourcePattern> = Vec::new();
        for character in (0..=0x17f).filter_map(char::from_u32) {
            for text in [character.to_string(), format!("a{character}"), format!("a{character}b")] {
                let has_meaning = character == '*' || character.is_control() || !character.is_ascii();
                let (user, organization) = (text.parse::<UserId>(), text.parse::<OrganizationId>());
                assert_eq!(user.is_ok(), organization.is_ok(), "{text:?}");
                assert!(!has_meaning || user.is_err(), "{text:?}");
                let generated = [
                    format!("svc_{text}").parse::<ServiceClientId>().is_err(),
                    format!("key_{text}").parse::<KeyId>().is_err(),
                    format!("svc_01ARZ3NDEKTSV4RRFFQ69G5FA{character}").parse::<ServiceClientId>().is_err(),
                    format!("key_01ARZ3NDEKTSV4RRFFQ69G5FA{character}").parse::<KeyId>().is_err(),
                ];
                assert!(!has_meaning || generated == [true; 4], "{text:?}");
                if let (Ok(user), Ok(organization)) = (user, organization) {
                    let pattern = template.pattern(Some(&user), Some(&organization)).unwrap();
                    assert!(patterns.iter().all(|one| !one.contains(&pattern) && !pattern.contains(one)), "{pattern}");
                    patterns.push(pattern);
                }
            }
        }
        assert!(patterns.len() > 150, "hardly any id is accepted");
    }

    #[test]
    fn a_template_has_a_place_and_is_a_pattern() {
        for text in ["/users/{user}/*", "/{organization}/*", "https://h/{user}", "/*/{user}/x"] {
            assert!(text.parse::<ResourceTemplate>().is_ok(), "{text}");
        }
        for text in [
            "",
            "/users/*",
            "/users/u-{user}/*",
            "/{users}/*",
            "/{user}/{x}",
            "{user}",
            "/{user}//x",
            "https://{user}/a",
        ] {
            assert!(text.parse::<ResourceTemplate>().is_err(), "{text}");
        }
        assert!("/users/{user}/*".parse::<ResourceTemplate>().unwrap().names_user());
        assert!(!"/{organization}/*".parse::<ResourceTemplate>().unwrap().names_user());
    }
}
