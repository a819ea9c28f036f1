//! Advisory locks of the database, in the order in which a transaction may take them.

/// Plans and applies of a configuration file.
pub const PROVISIONING: i64 = 0x006b_6579_7377_0005;
/// The setup of a deployment, and changes of the master keys.
pub const SETUP: i64 = 0x006b_6579_7377_0002;
/// The signing keys and the replicas.
pub const SIGNING_KEYS: i64 = 0x006b_6579_7377_0001;
/// Changes that could remove the last administrator.
pub const ADMINISTRATORS: i64 = 0x006b_6579_7377_0003;
/// The creation of webhook deliveries.
pub const FAN_OUT: i64 = 0x006b_6579_7377_0004;
/// Events about expired keys and deleted owners.
pub const EXPIRY_NOTIFICATIONS: i64 = 0x006b_6579_7377_0010;
