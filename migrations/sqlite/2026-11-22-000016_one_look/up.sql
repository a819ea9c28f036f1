-- As before, and the key itself: an exchange reads it here, and not once more from its own table.
DROP VIEW key_owner_status;
CREATE VIEW key_owner_status AS
SELECT
    k.id AS key_id,
    k.name,
    k.owner_type,
    k.owner_id,
    k.organization_id,
    k.permissions,
    k.audiences,
    k.metadata,
    k.max_token_ttl,
    k.suspended_at,
    k.revoked_at,
    k.deleted_at,
    k.expires_at,
    k.created_at,
    k.created_by,
    k.version,
    k.user_id,
    k.incarnation,
    k.creator_id,
    k.creator_incarnation AS key_creator_incarnation,
    k.exchanges_per_minute,
    s.permissions AS client_permissions,
    s.deleted_at AS client_deleted_at,
    s.metadata AS client_metadata,
    u.incarnation AS user_incarnation,
    u.blocked_at AS user_blocked_at,
    u.profile AS user_profile,
    u.metadata AS user_metadata,
    m.incarnation AS member_incarnation,
    m.organization_incarnation AS member_organization_incarnation,
    o.incarnation AS organization_incarnation,
    o.metadata AS organization_metadata,
    c.incarnation AS creator_incarnation,
    c.organization_incarnation AS creator_organization_incarnation,
    CASE
        -- What may be assigned to keys of an organization, as far as this one carries it.
        WHEN k.user_id IS NULL AND k.organization_id IS NOT NULL THEN (
            SELECT group_concat(p.name, ' ') FROM permissions p
            WHERE p.name IN (SELECT value FROM json_each('["' || replace(k.permissions, ' ', '","') || '"]')) AND ' ' || p.assignable_to || ' ' LIKE '% organization %'
        )
        WHEN k.organization_id IS NOT NULL THEN (SELECT group_concat(r.permissions, ' ') FROM roles r WHERE r.name IN (SELECT value FROM json_each('["' || replace(m.roles, ' ', '","') || '"]')))
        WHEN k.user_id IS NOT NULL THEN (SELECT group_concat(r.permissions, ' ') FROM roles r WHERE r.name IN (SELECT value FROM json_each('["' || replace(u.roles, ' ', '","') || '"]')))
    END AS home_permissions,
    -- The statements of its access records, with what their roles hold now, as JSON; absent where there are none. Nearly always nothing names
    -- the key or its owner, and that is all that is looked at.
    CASE WHEN EXISTS (SELECT 1 FROM access_record_principals y WHERE y.mark = k.id)
        OR EXISTS (SELECT 1 FROM access_record_principals y WHERE y.mark = CASE k.owner_type WHEN 'service_client' THEN k.owner_id WHEN 'user' THEN k.incarnation END)
    THEN (
        SELECT NULLIF(
            json_group_array(
                json_object(
                    'permissions',
                    COALESCE((SELECT group_concat(r.permissions, ' ') FROM roles r WHERE r.name IN (SELECT value FROM json_each('["' || replace(t.roles, ' ', '","') || '"]'))), ''),
                    'resources', t.resources
                ) ORDER BY t.record_id, t.position
            ),
            '[]'
        )
        FROM access_records a
        JOIN access_record_statements t ON t.record_id = a.id
        WHERE a.id IN (
            SELECT x.record_id FROM access_record_principals x
            WHERE x.mark IN (k.id, CASE k.owner_type WHEN 'service_client' THEN k.owner_id WHEN 'user' THEN k.incarnation END)
        )
        AND a.organization_id IS k.organization_id AND a.incarnation IS o.incarnation
    ) END AS access
FROM api_keys k
LEFT JOIN service_clients s ON k.owner_type = 'service_client' AND s.id = k.owner_id
LEFT JOIN users u ON u.id = k.user_id
LEFT JOIN members m ON m.organization_id = k.organization_id AND m.user_id = k.user_id
LEFT JOIN organizations o ON o.id = k.organization_id
LEFT JOIN members c ON c.organization_id = k.organization_id AND c.user_id = k.creator_id;
