// Permissions that views require.

export const ADMIN = "keyswap:admin";

// Permissions to manage keys. All except keyswap:keys apply within one organization: their holders
// see no other keys.
export const KEY_MANAGEMENT = ["keyswap:keys", "api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"];
