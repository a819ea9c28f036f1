//! The tables, which are the same in both databases. Times are milliseconds since 1970-01-01 UTC,
//! because Diesel's `MultiConnection` does not support `Timestamptz`. Columns named `minute`,
//! `hour` and `day` count these units instead, and `exp` counts seconds.

diesel::table! {
    master_keys (version) {
        version -> Integer,
        fingerprint -> Text,
        created_at -> BigInt,
        state -> Text,
        activated_at -> Nullable<BigInt>,
        retired_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        algorithm -> Text,
        state -> Text,
        public_jwk -> Text,
        encrypted_private_key -> Nullable<Binary>,
        master_version -> Nullable<Integer>,
        published_at -> BigInt,
        activated_at -> Nullable<BigInt>,
        retired_at -> Nullable<BigInt>,
        removed_at -> Nullable<BigInt>,
        longest_ttl -> BigInt,
        version -> BigInt,
        seen_at -> Nullable<BigInt>,
        destroyed_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    signing_key_manifest (id) {
        id -> Text,
        counter -> BigInt,
        digests -> Text,
        tag -> Nullable<Binary>,
        master_version -> Nullable<Integer>,
    }
}
diesel::allow_tables_to_appear_in_same_query!(signing_keys, signing_key_manifest);
diesel::table! {
    permissions (name) {
        name -> Text,
        description -> Nullable<Text>,
        assignable_to -> Text,
        built_in -> Integer,
        created_at -> BigInt,
        version -> BigInt,
    }
}
diesel::table! {
    audiences (id) {
        id -> Text,
        identifier -> Text,
        normalized_identifier -> Text,
        permissions -> Nullable<Text>,
        token_ttl -> Nullable<BigInt>,
        built_in -> Nullable<Text>,
        created_at -> BigInt,
        version -> BigInt,
        algorithm -> Nullable<Text>,
        typ -> Nullable<Text>,
        scope_claim -> Nullable<Text>,
        aud_claim -> Nullable<Text>,
        claims -> Nullable<Text>,
        status -> Nullable<Text>,
        record_bound -> Integer,
        tag -> Binary,
        master_version -> Integer,
    }
}
diesel::table! {
    service_clients (id) {
        id -> Text,
        name -> Text,
        owner_type -> Text,
        permissions -> Text,
        metadata -> Text,
        created_at -> BigInt,
        created_by -> Text,
        deleted_at -> Nullable<BigInt>,
        version -> BigInt,
        user_id -> Nullable<Text>,
        organization_id -> Nullable<Text>,
        generation_id -> Nullable<Text>,
    }
}
diesel::table! {
    api_keys (id) {
        id -> Text,
        name -> Text,
        description -> Nullable<Text>,
        owner_type -> Text,
        owner_id -> Nullable<Text>,
        organization_id -> Nullable<Text>,
        permissions -> Text,
        audiences -> Nullable<Text>,
        metadata -> Text,
        max_token_ttl -> Nullable<BigInt>,
        suspended_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        created_at -> BigInt,
        created_by -> Text,
        version -> BigInt,
        user_id -> Nullable<Text>,
        generation_id -> Nullable<Text>,
        creator_id -> Nullable<Text>,
        creator_generation_id -> Nullable<Text>,
        exchanges_per_minute -> Nullable<Integer>,
        record_bound -> Integer,
        notified_days -> Nullable<Integer>,
        ended_with -> Nullable<Text>,
        creator_key_id -> Nullable<Text>,
    }
}
diesel::table! {
    credentials (id) {
        id -> Text,
        number -> BigInt,
        key_id -> Text,
        prefix -> Text,
        encrypted_secret -> Binary,
        master_version -> Integer,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        lookup_digest -> Nullable<Text>,
        masked_value -> Nullable<Text>,
        replaced_at -> Nullable<BigInt>,
        status_list -> Nullable<Text>,
        status_index -> Nullable<Integer>,
    }
}
diesel::table! {
    credential_usage (credential_number) {
        credential_number -> BigInt,
        last_used_at -> BigInt,
        day -> BigInt,
        uses -> BigInt,
    }
}
diesel::table! {
    events (seq) {
        seq -> BigInt,
        id -> Text,
        kind -> Text,
        at -> BigInt,
        actor -> Text,
        on_behalf_of -> Nullable<Text>,
        subject -> Text,
        organization_id -> Nullable<Text>,
        cause -> Nullable<Text>,
        request_id -> Nullable<Text>,
        address -> Nullable<Text>,
        data -> Text,
        prev_hash -> Text,
    }
}
diesel::table! {
    event_chain_head (id) {
        id -> Integer,
        seq -> BigInt,
        hash -> Text,
        authority_event -> Text,
    }
}
diesel::table! {
    narrow_credentials (number) {
        number -> BigInt,
        credential_id -> Text,
        key_id -> Text,
        version -> BigInt,
        encrypted_secret -> Binary,
        master_version -> Integer,
        credential_expires_at -> Nullable<BigInt>,
        key_expires_at -> Nullable<BigInt>,
        status_list -> Nullable<Text>,
        status_index -> Nullable<Integer>,
        entitlement -> BigInt,
        owner_type -> Text,
        owner_id -> Nullable<Text>,
        user_id -> Nullable<Text>,
        organization_id -> Nullable<Text>,
        generation_id -> Nullable<Text>,
        created_at -> BigInt,
    }
}
diesel::table! {
    narrow_lookups (number) {
        number -> BigInt,
        credential_id -> Text,
        key_id -> Text,
        version -> BigInt,
        encrypted_secret -> Binary,
        master_version -> Integer,
        credential_expires_at -> Nullable<BigInt>,
        key_expires_at -> Nullable<BigInt>,
        status_list -> Nullable<Text>,
        status_index -> Nullable<Integer>,
        entitlement -> BigInt,
        owner_type -> Text,
        owner_id -> Nullable<Text>,
        user_id -> Nullable<Text>,
        organization_id -> Nullable<Text>,
        generation_id -> Nullable<Text>,
        created_at -> BigInt,
        user_generation_id -> Nullable<Text>,
        user_blocked_at -> Nullable<BigInt>,
        member_generation_id -> Nullable<Text>,
        member_organization_generation_id -> Nullable<Text>,
        organization_generation_id -> Nullable<Text>,
        roles -> Nullable<Text>,
        has_access_records -> Integer,
        authority_event -> Text,
        user_profile -> Nullable<Text>,
        user_metadata -> Nullable<Text>,
        organization_name -> Nullable<Text>,
        organization_metadata -> Nullable<Text>,
    }
}
diesel::table! {
    idempotency_keys (actor, idempotency_key) {
        actor -> Text,
        idempotency_key -> Text,
        request_hash -> Text,
        object_id -> Text,
        created_at -> BigInt,
    }
}
diesel::table! {
    organizations (id) {
        id -> Text,
        generation_id -> Text,
        name -> Nullable<Text>,
        metadata -> Text,
        created_at -> BigInt,
        version -> BigInt,
    }
}
diesel::table! {
    roles (name) {
        name -> Text,
        description -> Nullable<Text>,
        created_at -> BigInt,
        version -> BigInt,
    }
}
diesel::table! {
    role_permissions (role, permission) {
        role -> Text,
        permission -> Text,
    }
}
diesel::table! {
    /// A view.
    roles_with_permissions (name) {
        name -> Text,
        description -> Nullable<Text>,
        created_at -> BigInt,
        version -> BigInt,
        permissions -> Text,
    }
}
diesel::table! {
    users (id) {
        id -> Text,
        generation_id -> Text,
        blocked_at -> Nullable<BigInt>,
        locked_at -> Nullable<BigInt>,
        lock_reason -> Nullable<Text>,
        profile -> Text,
        metadata -> Text,
        created_at -> BigInt,
        version -> BigInt,
    }
}
diesel::table! {
    user_roles (user_id, role) {
        user_id -> Text,
        role -> Text,
    }
}
diesel::table! {
    /// A view.
    users_with_roles (id) {
        id -> Text,
        generation_id -> Text,
        blocked_at -> Nullable<BigInt>,
        locked_at -> Nullable<BigInt>,
        lock_reason -> Nullable<Text>,
        profile -> Text,
        metadata -> Text,
        created_at -> BigInt,
        version -> BigInt,
        roles -> Text,
    }
}
diesel::table! {
    members (organization_id, user_id) {
        organization_id -> Text,
        user_id -> Text,
        generation_id -> Text,
        organization_generation_id -> Text,
        metadata -> Text,
        created_at -> BigInt,
        version -> BigInt,
    }
}
diesel::table! {
    member_roles (organization_id, user_id, role) {
        organization_id -> Text,
        user_id -> Text,
        role -> Text,
    }
}
diesel::table! {
    /// A view.
    members_with_roles (organization_id, user_id) {
        organization_id -> Text,
        user_id -> Text,
        generation_id -> Text,
        organization_generation_id -> Text,
        metadata -> Text,
        created_at -> BigInt,
        version -> BigInt,
        roles -> Text,
    }
}
diesel::table! {
    rate_limit_windows (key_id) {
        key_id -> Text,
        minute -> BigInt,
        exchanges -> BigInt,
    }
}
diesel::table! {
    key_usage (key_id, day) {
        key_id -> Text,
        day -> BigInt,
        uses -> BigInt,
    }
}
diesel::table! {
    owner_deletions (id) {
        id -> Text,
        cause -> Text,
        user_id -> Nullable<Text>,
        organization_id -> Nullable<Text>,
        service_client_id -> Nullable<Text>,
        generation_id -> Nullable<Text>,
        key_cursor -> Text,
        created_at -> BigInt,
    }
}
diesel::table! {
    portal_sessions (id) {
        id -> Text,
        encrypted_secret -> Binary,
        master_version -> Integer,
        user_id -> Text,
        organization_id -> Nullable<Text>,
        generation_id -> Text,
        opened_by -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        kind -> Text,
        parent_id -> Nullable<Text>,
    }
}
diesel::table! {
    /// A view: a key with all the data that determines its owner status.
    key_owner_status (key_id) {
        key_id -> Text,
        name -> Text,
        description -> Nullable<Text>,
        owner_type -> Text,
        owner_id -> Nullable<Text>,
        organization_id -> Nullable<Text>,
        permissions -> Text,
        audiences -> Nullable<Text>,
        metadata -> Text,
        max_token_ttl -> Nullable<BigInt>,
        suspended_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        created_at -> BigInt,
        created_by -> Text,
        version -> BigInt,
        user_id -> Nullable<Text>,
        generation_id -> Nullable<Text>,
        creator_id -> Nullable<Text>,
        creator_generation_id -> Nullable<Text>,
        exchanges_per_minute -> Nullable<Integer>,
        record_bound -> Integer,
        client_permissions -> Nullable<Text>,
        client_deleted_at -> Nullable<BigInt>,
        client_metadata -> Nullable<Text>,
        user_generation_id -> Nullable<Text>,
        user_blocked_at -> Nullable<BigInt>,
        user_profile -> Nullable<Text>,
        user_metadata -> Nullable<Text>,
        member_generation_id -> Nullable<Text>,
        member_organization_generation_id -> Nullable<Text>,
        organization_generation_id -> Nullable<Text>,
        organization_metadata -> Nullable<Text>,
        creator_member_generation_id -> Nullable<Text>,
        creator_member_organization_generation_id -> Nullable<Text>,
        creator_blocked_at -> Nullable<BigInt>,
        owner_permissions -> Nullable<Text>,
        has_access_records -> Integer,
    }
}
diesel::table! {
    access_records (id) {
        id -> Text,
        name -> Text,
        organization_id -> Nullable<Text>,
        generation_id -> Nullable<Text>,
        created_at -> BigInt,
        created_by -> Text,
        granted_by -> Text,
        version -> BigInt,
        tag -> Binary,
        master_version -> Integer,
    }
}
diesel::table! {
    access_record_principals (record_id, unique_id) {
        record_id -> Text,
        unique_id -> Text,
        kind -> Text,
        principal_id -> Text,
        position -> Integer,
    }
}
diesel::table! {
    access_record_admins (record_id, generation_id) {
        record_id -> Text,
        generation_id -> Text,
        user_id -> Text,
        position -> Integer,
    }
}
diesel::table! {
    access_record_statements (record_id, position) {
        record_id -> Text,
        position -> Integer,
        resources -> Text,
    }
}
diesel::table! {
    access_record_statement_roles (record_id, position, role) {
        record_id -> Text,
        position -> Integer,
        role -> Text,
    }
}
diesel::table! {
    /// A view.
    access_record_parts (record_id) {
        record_id -> Text,
        principals -> Text,
        admins -> Text,
        statements -> Text,
    }
}

diesel::table! {
    webhooks (id) {
        id -> Text,
        url -> Text,
        description -> Nullable<Text>,
        event_types -> Nullable<Text>,
        organization_id -> Nullable<Text>,
        disabled -> Nullable<Text>,
        encrypted_secret -> Binary,
        master_version -> Integer,
        previous_encrypted_secret -> Nullable<Binary>,
        previous_master_version -> Nullable<Integer>,
        previous_secret_expires_at -> Nullable<BigInt>,
        paused_until -> Nullable<BigInt>,
        event_cursor -> BigInt,
        created_at -> BigInt,
        created_by -> Text,
        version -> BigInt,
    }
}
diesel::table! {
    webhook_deliveries (id) {
        id -> Text,
        webhook_id -> Text,
        event_seq -> BigInt,
        event_id -> Text,
        event_type -> Text,
        state -> Text,
        attempts -> Integer,
        next_attempt_at -> Nullable<BigInt>,
        leased_until -> Nullable<BigInt>,
        last_status -> Nullable<Integer>,
        last_error -> Nullable<Text>,
        created_at -> BigInt,
        finished_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    replicas (id) {
        id -> Text,
        name -> Text,
        started_at -> BigInt,
        last_heartbeat_at -> BigInt,
        published_kids -> Text,
        algorithm -> Text,
        rotation_period -> Nullable<BigInt>,
        verifier_cache_ttl -> BigInt,
        replica_staleness -> BigInt,
        verifier_leeway -> BigInt,
        clock_skew -> BigInt,
        max_ttl -> BigInt,
        master_key_fingerprints -> Text,
    }
}
diesel::table! {
    replica_heartbeats (replica_id) {
        replica_id -> Text,
        heartbeats -> BigInt,
    }
}
diesel::table! {
    clock_monitor (id) {
        id -> Integer,
        last_observed_at -> BigInt,
        stable_since -> BigInt,
    }
}
diesel::table! {
    signing_key_tokens (kid, ends_at) {
        kid -> Text,
        ends_at -> BigInt,
        tokens -> BigInt,
    }
}

diesel::joinable!(credentials -> api_keys (key_id));
diesel::allow_tables_to_appear_in_same_query!(members, members_with_roles, organizations);
diesel::allow_tables_to_appear_in_same_query!(
    credentials,
    credential_usage,
    api_keys,
    service_clients,
    key_owner_status,
    audiences,
    narrow_credentials,
    narrow_lookups
);
diesel::joinable!(webhook_deliveries -> webhooks (webhook_id));
diesel::allow_tables_to_appear_in_same_query!(webhook_deliveries, webhooks);
diesel::allow_tables_to_appear_in_same_query!(
    access_records,
    access_record_principals,
    access_record_admins,
    access_record_statement_roles,
    access_record_parts,
    organizations
);

diesel::table! {
    revoked_tokens (jti) {
        jti -> Text,
        key_id -> Text,
        expires_at -> BigInt,
        revoked_at -> BigInt,
    }
}
diesel::allow_tables_to_appear_in_same_query!(credentials, revoked_tokens);
diesel::table! {
    status_lists (id) {
        id -> Text,
        kind -> Text,
        size -> Integer,
        used -> Integer,
        created_at -> BigInt,
    }
}
diesel::table! {
    token_statuses (jti) {
        jti -> Text,
        list_id -> Text,
        list_index -> Integer,
        credential_id -> Text,
        key_id -> Text,
        exp -> BigInt,
        revoked_at -> Nullable<BigInt>,
    }
}
diesel::table! {
    status_list_tokens (list_id) {
        list_id -> Text,
        jwt -> Text,
        kid -> Text,
        content_digest -> Text,
        issued_at -> BigInt,
        expires_at -> BigInt,
        version -> BigInt,
    }
}
diesel::table! {
    status_list_build (id) {
        id -> Integer,
        event_cursor -> BigInt,
        next_expiration_at -> Nullable<BigInt>,
        version -> BigInt,
        revoked_token_count -> BigInt,
        included_revoked_token_count -> BigInt,
    }
}
diesel::allow_tables_to_appear_in_same_query!(status_lists, token_statuses);
diesel::table! {
    exchange_counts (hour, result) {
        hour -> BigInt,
        result -> Text,
        exchanges -> BigInt,
    }
}
diesel::table! {
    branding (id) {
        id -> Integer,
        body -> Text,
        version -> BigInt,
    }
}
