//! The `keyswap api-key` command.

use std::path::PathBuf;

use clap::Subcommand;

use crate::{
    cli::{
        api_key_options::{Create, Filter, Output, Patch, SelectedKey},
        api_key_output::{inspect_key, print_key, time_or_never},
        common::{CommonArgs, Failure, print_json},
    },
    domain::common::{page::PageRequest, preconditions::Preconditions, time::Span},
    http::ApiKeyBody,
    service::{
        Services,
        api_keys::{
            self, KeyTransition, Rotation,
            revoke::{Descendants, Revocation},
            types::Import,
        },
        caller::Caller,
        common::idempotency::IdempotentOutcome,
    },
};

#[derive(Debug, Subcommand)]
pub enum ApiKeyCommand {
    /// Create an API key. Its value is printed once, on standard output.
    #[command(after_help = "Examples:
  keyswap api-key create --name ci --permission projects:read --expires-in 90d
  keyswap api-key create --name worker --service-client svc_01JB…")]
    Create(Box<Create>),
    /// List API keys, newest first.
    #[command(after_help = "Examples:
  keyswap api-key list --user alice --state active
  keyswap api-key list --unused-for 90d --json")]
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        output: Output,
    },
    /// Show an API key.
    #[command(after_help = "Examples:
  keyswap api-key show key_01JB…")]
    Show(SelectedKey),
    /// Change attributes of an API key. Omitted options keep their values.
    #[command(after_help = "Examples:
  keyswap api-key patch key_01JB… --name nightly --expires-in 30d
  keyswap api-key patch key_01JB… --permission a:read --permission a:write")]
    Patch(Box<Patch>),
    /// Rotate an API key to a new value. The old value works until the grace
    /// period ends.
    #[command(after_help = "Examples:
  keyswap api-key rotate key_01JB… --grace 1h
  keyswap api-key rotate key_01JB… --grace 0s    end the old value at once")]
    Rotate {
        #[command(flatten)]
        one: SelectedKey,
        /// Set how long the old value keeps working.
        #[arg(long, default_value_t = api_keys::DEFAULT_GRACE)]
        grace: Span,
    },
    /// Cancel a rotation during its grace period. The old value stays valid and
    /// the new value ends immediately.
    #[command(after_help = "Examples:
  keyswap api-key cancel-rotation key_01JB…")]
    CancelRotation(SelectedKey),
    /// Suspend an API key.
    #[command(after_help = "Examples:
  keyswap api-key suspend key_01JB…")]
    Suspend(SelectedKey),
    /// Resume a suspended API key.
    #[command(after_help = "Examples:
  keyswap api-key resume key_01JB…")]
    Resume(SelectedKey),
    /// Revoke an API key permanently.
    #[command(after_help = "Examples:
  keyswap api-key revoke key_01JB…
  keyswap api-key revoke key_01JB… --descendants --dry-run
                                        show what would be revoked")]
    Revoke {
        #[command(flatten)]
        one: SelectedKey,
        /// Revoke the keys that were created with it as well, and those created
        /// with these keys.
        #[arg(long)]
        descendants: bool,
        /// Show what would be revoked without revoking anything.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check offline whether a text is a well-formed API key. Reads no settings.
    #[command(after_help = "Examples:
  keyswap api-key inspect < key.txt")]
    Inspect {
        /// Read the text from this file. Use - for standard input. Never give a
        /// key as an argument: other users of the machine can see it.
        #[arg(default_value = "-")]
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(common: &CommonArgs, command: ApiKeyCommand) -> Result<(), Failure> {
    if let ApiKeyCommand::Inspect { file, output } = command {
        return inspect_key(common, &file, &output);
    }
    let services = &common.start().await?;
    let caller = &Caller::cli();
    match command {
        // Handled above, without a database.
        ApiKeyCommand::Inspect { .. } => Ok(()),
        ApiKeyCommand::Create(create) => create_key(services, caller, *create).await,
        ApiKeyCommand::List { filter, output } => list_keys(services, caller, filter, &output).await,
        ApiKeyCommand::Show(one) => print_key(api_keys::get(services, caller, one.id, false).await?, None, &one.output),
        ApiKeyCommand::Patch(patch) => patch_key(services, caller, *patch).await,
        ApiKeyCommand::Rotate { one, grace } => {
            let rotation = Rotation { id: one.id, grace, preconditions: Preconditions::default() };
            match api_keys::rotate(services, caller, rotation, None).await? {
                IdempotentOutcome::New(rotated) => {
                    print_key(rotated.api_key, Some(rotated.value.expose()), &one.output)
                }
                IdempotentOutcome::Existing(key) => print_key(key, None, &one.output),
            }
        }
        ApiKeyCommand::CancelRotation(one) => print_key(
            api_keys::cancel_rotation(services, caller, one.id, Preconditions::default()).await?,
            None,
            &one.output,
        ),
        ApiKeyCommand::Suspend(one) => change_state(services, caller, one, KeyTransition::Suspend).await,
        ApiKeyCommand::Resume(one) => change_state(services, caller, one, KeyTransition::Resume).await,
        ApiKeyCommand::Revoke { one, descendants, dry_run } => {
            revoke_key(services, caller, one, Revocation { descendants, dry_run }).await
        }
    }
}

async fn create_key(services: &Services, caller: &Caller, create: Create) -> Result<(), Failure> {
    let now = services.store.now().await?;
    let new = create.key(now);
    if let Some(sha256) = create.import_sha256 {
        let import = Import { sha256, masked: create.import_masked };
        let (IdempotentOutcome::New(made) | IdempotentOutcome::Existing(made)) =
            api_keys::import(services, caller, new, import, None).await?;
        return print_key(made, None, &create.output);
    }
    match api_keys::create(services, caller, new, None).await? {
        IdempotentOutcome::New(made) => print_key(made.api_key, Some(made.value.expose()), &create.output),
        IdempotentOutcome::Existing(shown) => print_key(shown, None, &create.output),
    }
}

async fn patch_key(services: &Services, caller: &Caller, patch: Patch) -> Result<(), Failure> {
    let now = services.store.now().await?;
    let SelectedKey { id, output } = patch.one.clone();
    print_key(
        api_keys::patch(services, caller, id, patch.attributes(now), Preconditions::default()).await?,
        None,
        &output,
    )
}

async fn list_keys(services: &Services, caller: &Caller, asked: Filter, output: &Output) -> Result<(), Failure> {
    let now = services.store.now().await?;
    let filter = asked.key_filter(now);
    let mut page = PageRequest::FIRST_PAGE;
    let mut all = Vec::new();
    loop {
        let found = api_keys::list(services, caller, filter.clone(), page.clone()).await?;
        all.extend(found.data);
        match found.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    if output.json {
        return print_json(&all.into_iter().map(|shown| ApiKeyBody::new(shown, None)).collect::<Vec<_>>());
    }
    println!("{:<31} {:<10} {:<24} {:<24} NAME", "ID", "STATE", "LAST USED", "EXPIRES");
    for shown in all {
        println!(
            "{:<31} {:<10} {:<24} {:<24} {}",
            shown.key.id,
            shown.state.as_str(),
            time_or_never(shown.key.last_used_at()),
            time_or_never(shown.key.attributes.expires_at),
            shown.key.attributes.name
        );
    }
    Ok(())
}

async fn change_state(
    services: &Services,
    caller: &Caller,
    one: SelectedKey,
    step: KeyTransition,
) -> Result<(), Failure> {
    print_key(api_keys::step(services, caller, one.id, step, Preconditions::default()).await?, None, &one.output)
}

async fn revoke_key(
    services: &Services,
    caller: &Caller,
    one: SelectedKey,
    revocation: Revocation,
) -> Result<(), Failure> {
    let revoked = api_keys::revoke(services, caller, one.id, revocation, Preconditions::default()).await?;
    if one.output.json {
        return print_json(&ApiKeyBody::from(revoked));
    }
    print_key(revoked.view, None, &one.output)?;
    let Some(Descendants { keys, altered, more }) = revoked.descendants else {
        if revocation.dry_run {
            println!("\nDry run: would revoke this key.");
        }
        return Ok(());
    };
    let done = if revocation.dry_run { "Dry run: would revoke" } else { "Revoked" };
    println!("\n{done} this key and {} keys created with it.", keys.len());
    for key in keys {
        println!("{:<31} {}", key.id, key.attributes.name);
    }
    if more {
        println!("There are more: repeat the command to revoke them.");
    }
    if !altered.is_empty() {
        println!("\nNot revoked, because the rows were altered outside of Keyswap (keyswap integrity list):");
    }
    for id in altered {
        println!("{id}");
    }
    Ok(())
}
