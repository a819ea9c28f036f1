// Permissions that views ask for.

export const ADMIN = "keyswap:admin";

// What governs keys within one organization: whoever holds it sees those, and no others.
export const KEYS = ["keyswap:keys", "api-keys:manage", "user-api-keys:manage-self", "user-api-keys:manage-all"];
