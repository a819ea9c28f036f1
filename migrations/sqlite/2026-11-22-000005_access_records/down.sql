DROP VIEW key_owner_status;
CREATE VIEW key_owner_status AS
SELECT
    k.id AS key_id,
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
    END AS home_permissions
FROM api_keys k
LEFT JOIN service_clients s ON k.owner_type = 'service_client' AND s.id = k.owner_id
LEFT JOIN users u ON u.id = k.user_id
LEFT JOIN members m ON m.organization_id = k.organization_id AND m.user_id = k.user_id
LEFT JOIN organizations o ON o.id = k.organization_id
LEFT JOIN members c ON c.organization_id = k.organization_id AND c.user_id = k.creator_id;
DROP TABLE access_record_statements;
DROP TABLE access_record_admins;
DROP TABLE access_record_principals;
DROP TABLE access_records;
