//! The size of the token of a grant, which is known before the token is signed.

use crate::domain::{
    access::token_profile::StatusSubject,
    common::json::json_length,
    exchange::{
        claims::{Claims, Subject},
        grant::Grant,
        key_context::Limits,
        refusal::{DenyReason, ScopeError},
    },
    signing::Algorithm,
};

/// The size in bytes above which a token is reported: some servers refuse a header of more than 4
/// KiB, and most one of more than 8 KiB.
pub const LARGE_TOKEN_SIZE: usize = 4096;

/// A header without its values.
const HEADER: &str = r#"{"typ":"","alg":"","kid":""}"#;
const KID_LENGTH: usize = 43;
/// Any text that is as long as a `jti`.
const JTI: &str = "0123456789012345678901";
/// The longest `status` claim, without the issuer in it.
const STATUS: &str =
    r#","status":{"status_list":{"idx":4294967295,"uri":"/v1/status-lists/stl_01JD0000000000000000000000"}}"#;
/// An upper bound for the names of the claims, the times, and the ids that Keyswap generates.
const FIXED_CLAIMS_LENGTH: usize = 600;

impl Grant {
    /// Checks that the token does not exceed the maximum size. An upper bound is compared first, so
    /// that the claims of most tokens are not serialized twice.
    pub fn check_token_size(&self, limits: &Limits) -> Result<(), DenyReason> {
        let is_small = self.token_size_of(self.max_claims_length(&limits.issuer), limits) <= limits.max_token_size;
        if is_small || self.token_size(limits) <= limits.max_token_size {
            Ok(())
        } else {
            Err(DenyReason::Scope(ScopeError::TokenTooLarge(limits.max_token_size)))
        }
    }

    /// Returns the size of the token in bytes, in compact serialization (RFC 7515 §3.1). The signed
    /// token can be smaller: by a few bytes if its status list index is not assigned yet, and by
    /// 171 bytes with an RSA key of 3072 bits.
    pub fn token_size(&self, limits: &Limits) -> usize {
        let mut claims = self.claims(&limits.issuer, JTI);
        let status = match self.status_subject {
            StatusSubject::Credential => 0,
            StatusSubject::Token => {
                claims.status = None;
                STATUS.len() + limits.issuer.len()
            }
        };
        self.token_size_of(json_length(&claims).saturating_add(status), limits)
    }

    fn token_size_of(&self, claims_length: usize, limits: &Limits) -> usize {
        let algorithm = self.token_profile.algorithm.unwrap_or(limits.algorithm);
        let header = HEADER.len() + self.token_profile.typ.as_str().len() + algorithm.as_str().len() + KID_LENGTH;
        let encoded = [header, claims_length, max_signature_length(algorithm)].map(base64_length);
        encoded.into_iter().fold(2, usize::saturating_add)
    }

    /// Returns an upper bound for the length of the claims as JSON.
    fn max_claims_length(&self, issuer: &str) -> usize {
        let subject = match &self.subject {
            Subject::User(id) => id.as_str().len(),
            Subject::Organization(id) => id.as_str().len(),
            Subject::ServiceClient(_) | Subject::ApiKey(_) => 0,
        };
        let organization = self.organization.as_ref().map_or(0, |id| id.as_str().len());
        // With quotes and a comma. Neither identifiers nor permissions contain characters that JSON
        // escapes.
        let audiences: usize = self.audience.all().iter().map(|one| one.as_str().len() + 3).sum();
        let is_scoped = !self.record_bound;
        let scope: usize = self.scope.iter().filter(|_| is_scoped).map(|name| name.as_str().len() + 3).sum();
        let details = self.authorization_details.as_ref().map_or(0, json_length);
        // The issuer is also part of the `status` claim. Ids are printable ASCII, in which JSON
        // escapes `"` and `\`, each with one more character.
        let (issuers, ids) = (2 * issuer.len(), 2 * (subject + organization));
        let parts = [issuers, ids, audiences, scope, details, json_length(&self.mapped_claims)];
        parts.into_iter().fold(FIXED_CLAIMS_LENGTH, usize::saturating_add)
    }
}

/// The part of the claims that makes a token large.
#[derive(Debug, Clone, Copy)]
pub struct LargestPart {
    pub name: &'static str,
    /// What makes it smaller.
    pub remedy: &'static str,
}

impl Claims<'_> {
    pub fn largest_part(&self) -> LargestPart {
        let scope = LargestPart { name: "scope", remedy: "request a smaller scope, or give the key fewer permissions" };
        let details = LargestPart { name: "authorization_details", remedy: "shorten the access records of the key" };
        let mapped = LargestPart { name: "claims from metadata", remedy: "map fewer claims, or shorten the metadata" };
        let audiences = LargestPart { name: "aud", remedy: "request fewer audiences" };
        let others = [
            (json_length(&self.authorization_details), details),
            (json_length(&self.mapped_claims), mapped),
            (json_length(&self.aud), audiences),
        ];
        let first = (json_length(&self.scope) + json_length(&self.scp), scope);
        others.into_iter().fold(first, |largest, part| if part.0 > largest.0 { part } else { largest }).1
    }
}

/// The length of a signature in bytes. The signing key is not known yet, so RSA keys count with
/// 4096 bits.
const fn max_signature_length(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Es256 | Algorithm::EdDsa => 64,
        Algorithm::Es384 => 96,
        Algorithm::Rs256 | Algorithm::Ps256 => 512,
    }
}

/// The length in base64url without padding.
const fn base64_length(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use crate::domain::{
        access::{permission::PermissionSet, token_profile::TokenProfile},
        common::{derived_id::CredentialId, id::MAX_PRODUCT_ID_LENGTH, time::Span},
        exchange::claims::AudienceClaim,
        status_lists::StatusListIndex,
    };

    use super::*;

    fn limits() -> Limits {
        Limits {
            issuer: "https://issuer.test".to_owned(),
            default_audience: "https://issuer.test".parse().unwrap(),
            default_ttl: Span::from_secs(600),
            max_ttl: Span::from_secs(3600),
            end_with_creator: true,
            record_bound: false,
            algorithm: Algorithm::Es256,
            max_token_size: 8192,
        }
    }

    fn grant(subject: Subject, organization: &str, status_subject: StatusSubject) -> Grant {
        let list = "stl_01JD0000000000000000000000".parse().unwrap();
        Grant {
            key: "key_01JD0000000000000000000000".parse().unwrap(),
            credential_id: CredentialId::placeholder(),
            subject,
            organization: Some(organization.parse().unwrap()),
            audience: AudienceClaim::Multiple(vec!["https://a.test".parse().unwrap(), "b".parse().unwrap()]),
            scope: PermissionSet::default(),
            record_bound: false,
            issued_at: i64::MIN,
            expires_at: i64::MIN,
            token_profile: TokenProfile::default(),
            authorization_details: None,
            mapped_claims: serde_json::Map::new(),
            status: Some(StatusListIndex { list, index: u32::MAX }),
            status_subject,
        }
    }

    #[test]
    fn the_upper_bound_includes_the_escapes_of_ids() {
        for character in ["\\", "\"", "a"] {
            // An id does not begin with a quote, and has more than backslashes.
            let id = format!("a{}", character.repeat(MAX_PRODUCT_ID_LENGTH - 1));
            let client = "svc_01JD0000000000000000000000".parse().unwrap();
            for subject in [
                Subject::User(id.parse().unwrap()),
                Subject::Organization(id.parse().unwrap()),
                Subject::ServiceClient(client),
            ] {
                for status_subject in [StatusSubject::Credential, StatusSubject::Token] {
                    let grant = grant(subject.clone(), &id, status_subject);
                    let limits = limits();
                    let claims = grant.claims(&limits.issuer, JTI);
                    let bound = grant.max_claims_length(&limits.issuer);
                    assert!(json_length(&claims) <= bound, "{subject:?}: {} of {bound}", json_length(&claims));
                    let size = grant.token_size(&limits);
                    let check = |max_token_size| grant.check_token_size(&Limits { max_token_size, ..limits.clone() });
                    assert!(check(size).is_ok() && check(size - 1).is_err());
                }
            }
        }
    }
}
