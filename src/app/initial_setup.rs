//! What the first start creates: master keys, permissions, audiences, signing keys and the
//! administrator.

use crate::{
    app::start_error::StartError,
    config::Settings,
    crypto::{
        master_key_file::{IfExists, write_secret},
        master_keys::MasterKeys,
        random::SystemEntropy,
        secret_file::{directory_of, is_writable_directory},
    },
    domain::{
        access::{
            audience::BuiltIn,
            owner::{OwnerScope, OwnerType},
            permission::{AssignableOwnerType, Permission, PermissionSet},
            policy::{ADMIN, BUILT_IN},
        },
        common::json::Metadata,
        credentials::api_key::ApiKeyAttributes,
        directory::service_client::ServiceClient,
        events::{EventType, NewEvent, Origin},
        signing::master_key::MasterKeyState,
    },
    service::{
        Error,
        access::audience_changes,
        api_keys::{create::KeyFactory, owner::ResolvedOwner},
        caller::Caller,
        signing::key_publisher::{self, KeyPublisher},
    },
    store::{self, Lock, NoEvent, Outcome, Store, StoreError, Tx},
    telemetry::stderr,
};
use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use zeroize::Zeroizing;

/// Loads the registered master keys. For an empty database, registers the keys in `dir`, or creates
/// the first one if `may_create` is set.
pub(crate) fn register(
    tx: &mut Tx<'_>,
    dir: &Path,
    may_create: bool,
    entropy: &SystemEntropy,
) -> Result<(MasterKeys, Vec<NewEvent>), StartError> {
    let registered = store::encryption::master_keys::list(tx)?;
    if !registered.is_empty() {
        let keys = MasterKeys::open(dir, &registered)?;
        tx.set_cipher(Arc::new(keys.clone()));
        return Ok((keys, Vec::new()));
    }
    let keys = match MasterKeys::read_dir(dir)? {
        Some(keys) => keys,
        None if may_create => MasterKeys::create(dir, entropy)?,
        None => return Err(StartError::NoMasterKey(dir.to_owned())),
    };
    let mut events = Vec::new();
    let current = keys.snapshot().current().0;
    for (version, fingerprint) in keys.fingerprints() {
        let state = if version == current { MasterKeyState::Current } else { MasterKeyState::Retired };
        store::encryption::master_keys::insert(tx, version, &fingerprint, state)?;
        events.push(NewEvent::new(EventType::MasterKeyRegistered, version).with_data("fingerprint", fingerprint));
    }
    tx.set_cipher(Arc::new(keys.clone()));
    Ok((keys, events))
}

/// Creates everything that a deployment needs in one transaction. A crash leaves all or nothing of
/// it.
pub(crate) async fn set_up_deployment(
    store: &Store,
    settings: &Settings,
    entropy: &SystemEntropy,
) -> Result<MasterKeys, StartError> {
    let algorithm = settings.signing_keys.algorithm;
    let stored = store.read(store::signing::stored_keys::list_rows).await?;
    // Generating RSA keys takes a second. It happens before the transaction, and only if the keys
    // may be needed.
    let mut generated = Vec::new();
    if !key_publisher::has_next(&stored, algorithm) {
        for _ in 0..2 {
            generated.push((algorithm, key_publisher::generate(algorithm).await?));
        }
    }
    let (settings, entropy) = (settings.clone(), entropy.clone());
    let admin_key_file = AdminKeyFile::new(settings.admin_key_file());
    let file = admin_key_file.clone();
    let (master, admin_key) = store
        .run_transaction(Origin::SYSTEM, move |tx| {
            tx.lock(Lock::Setup)?;
            // The presence of a master key proves nothing here: `master-key init` may have run
            // before. Nor does the absence of signing keys, which may have been deleted.
            let is_new = store::signing::manifest::is_new(tx)? && !store::api_keys::keys::exist(tx)?;
            if is_new {
                check_admin_key_directory(&settings)?;
            }
            let (master, mut events) = register(tx, &settings.keys.dir, settings.keys.create, &entropy)?;
            events.extend(ensure_built_in_permissions(tx)?);
            let audiences = [
                (BuiltIn::Default, &settings.limits.default_audience),
                (BuiltIn::Management, &settings.management_audience),
            ];
            for (kind, identifier) in audiences {
                events.extend(audience_changes::ensure_built_in_audience(tx, kind, identifier)?);
            }
            if !generated.is_empty() {
                let mut publisher = KeyPublisher::new(master.clone(), generated);
                events.extend(publisher.ensure_signing_keys(tx, algorithm)?);
            }
            let mut admin_key = None;
            if is_new {
                let (key, created) = create_administrator(tx, &settings, &master, &entropy)?;
                file.write(&key)?;
                admin_key = Some(key);
                events.extend(created);
            }
            Ok::<_, StartError>(Outcome::events_unless(NoEvent::Unchanged, (master, admin_key), events))
        })
        .await?;
    if let Some(key) = admin_key {
        print_admin_key(&admin_key_file.path, &key);
    }
    Ok(master)
}

pub(crate) fn ensure_built_in_permissions(tx: &mut Tx<'_>) -> Result<Vec<NewEvent>, StartError> {
    let mut events = Vec::new();
    for (name, description) in BUILT_IN {
        let corrupt = |error: &dyn std::fmt::Display| StoreError::invalid_data(format!("{name}: {error}"));
        let permission = Permission {
            name: name.parse().map_err(|error| corrupt(&error))?,
            description: Some(description.parse().map_err(|error| corrupt(&error))?),
            // The deployment offers the management permissions of tenants to users and
            // organizations.
            assignable_to: [AssignableOwnerType::ServiceClient].into(),
            built_in: true,
            created_at: tx.now(),
            version: 1,
        };
        if store::access::permissions::find(tx, &permission.name)?.is_none() {
            store::access::permissions::insert(tx, &permission)?;
            events.push(NewEvent::new(EventType::PermissionCreated, &permission.name));
        }
    }
    Ok(events)
}

/// Creates the service client "administrator" and its key. Returns the value of the key.
fn create_administrator(
    tx: &mut Tx<'_>,
    settings: &Settings,
    master: &MasterKeys,
    entropy: &SystemEntropy,
) -> Result<(Zeroizing<String>, Vec<NewEvent>), StartError> {
    let name: crate::domain::common::name::DisplayName =
        "administrator".parse().map_err(|error| StoreError::invalid_data(format!("{error}")))?;
    let permissions: PermissionSet = ADMIN.parse().into_iter().collect();
    let client = ServiceClient {
        id: tx.generate_id().map_err(Error::from)?,
        name: name.clone(),
        owner_scope: OwnerScope::Account,
        permissions: permissions.clone(),
        metadata: Metadata::default(),
        created_at: tx.now(),
        created_by: tx.creator(),
        version: 1,
    };
    store::api_keys::service_clients::insert(tx, &client)?;
    let attributes = ApiKeyAttributes {
        permissions,
        expires_at: settings.api_keys.max_lifetime.map(|longest| tx.now().plus(longest)),
        ..ApiKeyAttributes::new(name)
    };
    let owner = ResolvedOwner::of_client(client.clone(), PermissionSet::default());
    // The enabled owner types apply to the keys that clients create. This key is exempt, because no
    // other key can be created without it.
    let mut settings = settings.clone();
    settings.api_keys.owner_types.insert(OwnerType::ServiceClient);
    let factory = KeyFactory::new(&settings, master, entropy);
    let (created, key_event) = factory.create(tx, &owner, attributes, &Caller::for_system())?;
    let events = vec![NewEvent::new(EventType::ServiceClientCreated, &client.id), key_event];
    Ok((Zeroizing::new(created.value.expose().to_owned()), events))
}

/// Checks that the first start can write the key of the administrator, before anything is created.
pub(crate) fn check_admin_key_directory(settings: &Settings) -> Result<(), StartError> {
    let file = settings.admin_key_file();
    if is_writable_directory(directory_of(&file)) { Ok(()) } else { Err(StartError::AdminKeyDirectory(file)) }
}

/// The file of the key of the administrator. Clones belong to the same setup.
#[derive(Debug, Clone)]
struct AdminKeyFile {
    path: PathBuf,
    /// Whether this setup has written the file. PostgreSQL may have rolled it back, and then the
    /// key in the file was never valid.
    is_written: Arc<AtomicBool>,
}

impl AdminKeyFile {
    fn new(path: PathBuf) -> Self {
        Self { path, is_written: Arc::default() }
    }

    /// Writes the key before the transaction commits, so that a crash cannot leave an administrator
    /// whose key is lost.
    fn write(&self, key: &str) -> Result<(), StartError> {
        let path = &self.path;
        let unwritable = |error| StartError::AdminKey(path.clone(), error);
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir).map_err(unwritable)?;
        }
        if path.exists() && !self.is_written.load(Ordering::Relaxed) {
            // The file is from an earlier deployment or from a first start that was interrupted. It
            // is kept in case it is from an earlier deployment.
            let backup =
                (1..).map(|number| path.with_extension(format!("key.old.{number}"))).find(|path| !path.exists());
            fs::rename(path, backup.as_deref().unwrap_or(path)).map_err(unwritable)?;
        }
        write_secret(path, format!("{key}\n").as_bytes(), IfExists::Replace).map_err(unwritable)?;
        self.is_written.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn print_admin_key(path: &Path, key: &str) {
    tracing::info!(file = %path.display(), "wrote the API key of the administrator");
    if io::stderr().is_terminal() {
        stderr::print(Zeroizing::new(format!(
            "\nThe administrator's API key. It is not shown again, and is also in {}:\n\n    {key}\n\n",
            path.display()
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_setup_replaces_its_own_key_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("administrator.key");
        fs::write(&path, "earlier\n").unwrap();
        let file = AdminKeyFile::new(path.clone());
        for key in ["first", "second"] {
            file.clone().write(key).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{key}\n"));
        }
        assert_eq!(fs::read_to_string(dir.path().join("administrator.key.old.1")).unwrap(), "earlier\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
