//! Resources, patterns and templates, and the rules between them.

use keyswap::domain::{
    access::{
        resource::{Resource, ResourcePattern},
        resource_template::ResourceTemplate,
    },
    common::id::{OrganizationId, UserId},
};

/// Each line is a resource, a pattern, a template or an id, whichever it can be.
pub fn run(input: &[u8]) -> Option<()> {
    let text = str::from_utf8(input).ok()?;
    let lines: Vec<_> = text.split('\n').take(6).collect();
    let resources: Vec<Resource> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    let mut patterns: Vec<ResourcePattern> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    for line in &lines {
        if let Ok(template) = line.parse::<ResourceTemplate>() {
            patterns.extend(fill(&template, &lines));
        }
    }
    resources.iter().for_each(|resource| check_resource(resource, &patterns));
    for one in &patterns {
        assert!(one.contains(one), "{one}");
        for other in patterns.iter().filter(|other| one.contains(other)) {
            // What `other` matches or contains, `one` does as well.
            for resource in resources.iter().filter(|resource| other.matches(resource)) {
                assert!(one.matches(resource), "{one} contains {other}, which matches {resource}");
            }
            for third in patterns.iter().filter(|third| other.contains(third)) {
                assert!(one.contains(third), "{one} contains {other}, which contains {third}");
            }
            assert!(!other.contains(one) || one == other, "{one} and {other} contain each other");
        }
    }
    Some(())
}

fn check_resource(resource: &Resource, patterns: &[ResourcePattern]) {
    let itself: ResourcePattern = resource.as_str().parse().expect("a resource is a pattern");
    assert!(itself.matches(resource));
    for pattern in patterns {
        assert_eq!(pattern.matches(resource), pattern.contains(&itself), "{pattern} {resource}");
    }
    // A service and the proxies before it may decode a resource any number of times.
    let mut text = resource.as_str().as_bytes().to_vec();
    loop {
        for part in text.split(|byte| matches!(byte, b'/' | b'\\')) {
            let name = part.split(|byte| *byte == b';').next().unwrap_or_default();
            assert!(name != b"." && name != b"..", "{resource}");
        }
        let decoded = decode(&text);
        if decoded == text {
            break;
        }
        text = decoded;
    }
}

/// The pattern of a template for each pair of lines that are ids.
fn fill(template: &ResourceTemplate, lines: &[&str]) -> Vec<ResourcePattern> {
    let users: Vec<UserId> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    let organizations: Vec<OrganizationId> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    let mut patterns = Vec::new();
    for user in &users {
        for organization in &organizations {
            let pattern = template.pattern(Some(user), Some(organization));
            // An id never adds a part to the path.
            let count = |text: &str| text.split('/').count();
            assert!(pattern.as_ref().is_none_or(|one| count(one.as_str()) == count(template.as_str())), "{pattern:?}");
            patterns.extend(pattern);
        }
    }
    patterns
}

/// Replaces `%` and two digits by their byte.
fn decode(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}
