//! Each conflict has a description of its own at `/oauth/revoke` (RFC 7009 §2.2.1), in the character
//! set of RFC 6749 §5.2.

use std::collections::BTreeSet;

use keyswap::{
    domain::{
        common::time::{Span, Timestamp},
        signing::{Algorithm, rotation::ClockJump},
    },
    http::oauth_error::OAuthError,
    service::{Conflict, Error, common::conflict::MasterKeyFileError},
    store::encryption::columns::EncryptedColumn,
};

/// One conflict of each kind. The match keeps the list complete.
fn conflicts() -> Vec<Conflict> {
    let kid = || "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg".parse().unwrap();
    let all = vec![
        Conflict::ChangedConcurrently("role editor".to_owned()),
        Conflict::LastAdministrator,
        Conflict::LastAdministratorExpires { end: Timestamp::from_millis(0), required: Timestamp::from_millis(1) },
        Conflict::BuiltInChanged("keyswap:admin".to_owned()),
        Conflict::BuiltInDeleted("keyswap:admin".to_owned()),
        Conflict::ManagementAudienceFixed,
        Conflict::IdentifierTaken("https://api.example.com".parse().unwrap()),
        Conflict::IdentifierSimilar("https://api.example.com".parse().unwrap()),
        Conflict::PermissionInUse { permission: "a:b".parse().unwrap(), users: vec!["key_1".to_owned()] },
        Conflict::RoleInUse { role: "editor".parse().unwrap(), users: vec!["ann".to_owned()] },
        Conflict::RowAltered { table: "credentials", id: "1".to_owned() },
        Conflict::RowOlder { table: "api_keys", id: "1".to_owned() },
        Conflict::RowNotAltered,
        Conflict::KeyRevoked,
        Conflict::RotationInProgress(Timestamp::from_millis(0)),
        Conflict::NotRotating,
        Conflict::SeveralOldValues,
        Conflict::DigestImported,
        Conflict::SigningKeyNotPublished(kid()),
        Conflict::SigningKeyExists(kid()),
        Conflict::NextSigningKeyChanged(kid()),
        Conflict::NoNextSigningKey(Algorithm::Es256),
        Conflict::NextSigningKeyUnusable(kid()),
        Conflict::ClockJumped(ClockJump::Forward(Span::from_secs(60))),
        Conflict::NothingToAccept,
        Conflict::MasterKeyReused(2),
        Conflict::MasterKeyFileUnusable { version: 2, fault: MasterKeyFileError::Missing },
        Conflict::ReplicasWithoutMasterKey { version: 2, replicas: Vec::new() },
        Conflict::MasterKeyCurrent(2),
        Conflict::MasterKeyInUse { version: 2, rows: [(EncryptedColumn::Credentials, 3)].into() },
        Conflict::MasterKeyNotRetired(2),
        Conflict::TooManyWebhooks(1000),
        Conflict::WebhookDisabled,
        Conflict::DeliveryInProgress,
        Conflict::SeveralServiceClients(vec!["svc_01JD8V3T6Q4Z9R7M2N5K8P1XYA".parse().unwrap()]),
        Conflict::UserLocked("EXAMPLE\\ann".parse().unwrap()),
        Conflict::AnotherUserSignedIn("ann".parse().unwrap()),
    ];
    let kinds: BTreeSet<u8> = all.iter().map(kind).collect();
    assert_eq!(kinds.len(), 37, "one of each");
    all
}

const fn kind(conflict: &Conflict) -> u8 {
    match conflict {
        Conflict::ChangedConcurrently(_) => 0,
        Conflict::LastAdministrator => 1,
        Conflict::BuiltInChanged(_) => 2,
        Conflict::BuiltInDeleted(_) => 3,
        Conflict::ManagementAudienceFixed => 4,
        Conflict::IdentifierTaken(_) => 5,
        Conflict::IdentifierSimilar(_) => 36,
        Conflict::PermissionInUse { .. } => 6,
        Conflict::RoleInUse { .. } => 7,
        Conflict::KeyRevoked => 8,
        Conflict::RotationInProgress(_) => 9,
        Conflict::NotRotating => 10,
        Conflict::SeveralOldValues => 11,
        Conflict::DigestImported => 12,
        Conflict::SigningKeyNotPublished(_) => 13,
        Conflict::SigningKeyExists(_) => 14,
        Conflict::NextSigningKeyChanged(_) => 15,
        Conflict::NoNextSigningKey(_) => 16,
        Conflict::NextSigningKeyUnusable(_) => 17,
        Conflict::ClockJumped(_) => 18,
        Conflict::NothingToAccept => 19,
        Conflict::MasterKeyReused(_) => 20,
        Conflict::MasterKeyFileUnusable { .. } => 21,
        Conflict::ReplicasWithoutMasterKey { .. } => 22,
        Conflict::MasterKeyCurrent(_) => 23,
        Conflict::MasterKeyInUse { .. } => 24,
        Conflict::MasterKeyNotRetired(_) => 25,
        Conflict::TooManyWebhooks(_) => 26,
        Conflict::WebhookDisabled => 27,
        Conflict::DeliveryInProgress => 28,
        Conflict::SeveralServiceClients(_) => 29,
        Conflict::UserLocked(_) => 30,
        Conflict::RowAltered { .. } => 31,
        Conflict::RowNotAltered => 32,
        Conflict::RowOlder { .. } => 33,
        Conflict::LastAdministratorExpires { .. } => 34,
        Conflict::AnotherUserSignedIn(_) => 35,
    }
}

#[test]
fn each_conflict_has_its_own_description() {
    let texts: BTreeSet<_> = conflicts().iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), conflicts().len(), "two conflicts have one text: {texts:?}");
    for conflict in conflicts() {
        // Those of altered rows name a command on the server, which a client does not learn.
        let is_for_operators = matches!(conflict, Conflict::RowAltered { .. } | Conflict::RowOlder { .. });
        let text = conflict.to_string();
        let error = OAuthError::from_service_error(&Error::Conflict(conflict));
        if is_for_operators {
            assert!(text.contains("keyswap integrity list"), "{text}");
            assert!(error.to_string().ends_with("ask an operator of the server"), "{error}");
        } else {
            assert_eq!(error.to_string(), format!("invalid_request: {}", text.replace(['"', '\\'], "'")));
        }
        let allowed = |at: char| matches!(at, ' '..='!' | '#'..='[' | ']'..='~');
        let description = error.to_string();
        assert!(description.chars().all(allowed), "{description}");
    }
}
