//! Retired names that are still in use, by file. The list only gets shorter.

/// Files with the retired names that they still contain.
#[rustfmt::skip]
pub const TO_BE_RENAMED: &[(&str, &str)] = &[
    ("src/domain/access/audience.rs", "Listed"),
    ("src/domain/access/claim_map.rs", "shape, stands"),
    ("src/domain/access/owner_status.rs", "Good"),
    ("src/domain/access/policy.rs", "Listed, inside, trail"),
    ("src/domain/access/token_profile.rs", "shaped, shape"),
    ("src/domain/credentials/api_key.rs", "standing, Good"),
    ("src/domain/credentials/expiry_notification.rs", "stands"),
    ("src/domain/credentials/format.rs", "shape"),
    ("src/domain/exchange/key_context.rs", "Good"),
    ("src/http/access/audiences.rs", "Listed"),
    ("src/service/access/audience_changes.rs", "Listed"),
    ("src/service/credentials/caller.rs", "Listed"),
    ("src/service/credentials/client.rs", "Listed"),
    ("src/service/directory/import/line.rs", "stands"),
    ("src/service/provisioning/diff.rs", "Listed"),
    ("src/service/provisioning/mod.rs", "Listed"),
    ("src/store/access/audiences.rs", "Listed"),
    ("src/store/api_keys/expiry_notifications.rs", "told"),
    ("src/store/api_keys/keys.rs", "standing"),
    ("src/store/columns.rs", "Listed"),
    ("src/store/portal/sessions.rs", "Listed"),
    ("tests/it/credentials/key_context/history.rs", "Listed"),
    ("tests/it/properties/generators.rs", "Listed"),
];
