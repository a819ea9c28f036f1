//! The `keyswap api-key` command.

use clap::Subcommand;

use crate::{
    cli::{
        api_key_options::{Create, Filter, Output, Patch, SelectedKey},
        common::{CommonArgs, Failure, print_json},
    },
    domain::{
        common::{
            page::PageRequest,
            time::{Span, Timestamp},
        },
        credentials::{
            api_key::{KeyFilter, StateReason},
            format::PresentedKey,
            imported::is_importable_format,
        },
    },
    http::ApiKeyBody,
    service::{
        Services,
        api_keys::{
            self, KeyTransition,
            types::{ApiKeyView, Import},
        },
        caller::Caller,
        common::idempotency::CreateOutcome,
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
        #[arg(long, default_value = "24h")]
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
  keyswap api-key revoke key_01JB…")]
    Revoke(SelectedKey),
    /// Check offline whether a text is a well-formed API key. Reads no settings.
    #[command(after_help = "Examples:
  keyswap api-key inspect < key.txt")]
    Inspect {
        /// Check this text. Without it, one line is read from standard input,
        /// which keeps the key out of the shell history.
        value: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(common: &CommonArgs, command: ApiKeyCommand) -> Result<(), Failure> {
    if let ApiKeyCommand::Inspect { value, output } = command {
        return inspect_key(common, value, &output);
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
            let rotated = api_keys::rotate(services, caller, one.id, grace, None).await?;
            print_key(rotated.api_key, Some(rotated.value.expose()), &one.output)
        }
        ApiKeyCommand::CancelRotation(one) => {
            print_key(api_keys::cancel_rotation(services, caller, one.id, None).await?, None, &one.output)
        }
        ApiKeyCommand::Suspend(one) => change_state(services, caller, one, KeyTransition::Suspend).await,
        ApiKeyCommand::Resume(one) => change_state(services, caller, one, KeyTransition::Resume).await,
        ApiKeyCommand::Revoke(one) => change_state(services, caller, one, KeyTransition::Revoke).await,
    }
}

async fn create_key(services: &Services, caller: &Caller, create: Create) -> Result<(), Failure> {
    let now = services.store.now().await?;
    let new = create.key(now);
    if let Some(sha256) = create.import_sha256 {
        let import = Import { sha256, masked: create.import_masked };
        let (CreateOutcome::New(made) | CreateOutcome::Existing(made)) =
            api_keys::import(services, caller, new, import, None).await?;
        return print_key(made, None, &create.output);
    }
    match api_keys::create(services, caller, new, None, None).await? {
        CreateOutcome::New(made) => print_key(made.api_key, Some(made.value.expose()), &create.output),
        CreateOutcome::Existing(shown) => print_key(shown, None, &create.output),
    }
}

async fn patch_key(services: &Services, caller: &Caller, patch: Patch) -> Result<(), Failure> {
    let now = services.store.now().await?;
    let SelectedKey { id, output } = patch.one.clone();
    print_key(api_keys::patch(services, caller, id, patch.attributes(now), None).await?, None, &output)
}

async fn list_keys(services: &Services, caller: &Caller, asked: Filter, output: &Output) -> Result<(), Failure> {
    let now = services.store.now().await?;
    let filter = KeyFilter {
        owner_type: asked.owner_type,
        service_client: asked.service_client,
        organization: asked.organization,
        user: asked.user,
        state: asked.state,
        unused_since: asked.unused_for.map(|span| now.minus(span)),
        only_archived: asked.archived,
    };
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
    print_key(api_keys::step(services, caller, one.id, step, None).await?, None, &one.output)
}

/// Formats a time that may be absent.
fn time_or_never(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}

fn print_key(shown: ApiKeyView, value: Option<&str>, output: &Output) -> Result<(), Failure> {
    if output.json {
        return print_json(&ApiKeyBody::new(shown, value));
    }
    let state = match shown.reason {
        None => shown.state.as_str().to_owned(),
        Some(reason) => format!("{} ({})", shown.state.as_str(), StateReason::as_str(reason).replace('_', " ")),
    };
    let key = &shown.key;
    let owner = &key.ownership.owner;
    let lines = [
        ("id", key.id.to_string()),
        ("name", key.attributes.name.to_string()),
        ("description", key.attributes.description.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)),
        ("state", state),
        (
            "owner",
            owner
                .id()
                .map_or_else(|| "none".to_owned(), |id| format!("{} {id}", owner.kind().as_str().replace('_', " "))),
        ),
        ("key", key.masked_value().unwrap_or_else(|| "none (no credential is valid)".to_owned())),
        (
            "permissions",
            if key.attributes.permissions.is_empty() {
                "none".to_owned()
            } else {
                key.attributes.permissions.to_string()
            },
        ),
        ("expires", time_or_never(key.attributes.expires_at)),
        ("last used", time_or_never(key.last_used_at())),
    ];
    // Only the value goes to standard output, so that it can be piped.
    for (name, text) in lines {
        if value.is_some() { eprintln!("{name:<12} {text}") } else { println!("{name:<12} {text}") }
    }
    if let Some(value) = value {
        eprintln!("\nThe key. It is not shown again:\n");
        println!("{value}");
    }
    Ok(())
}

fn inspect_key(common: &CommonArgs, value: Option<String>, output: &Output) -> Result<(), Failure> {
    if common.config.is_some() || !common.set.is_empty() {
        let message = "api-key inspect works offline and does not read --config and --set; remove them";
        return Err(Failure::Usage(message.to_owned()));
    }
    let text = match value {
        Some(value) => zeroize::Zeroizing::new(value),
        None => {
            let mut line = zeroize::Zeroizing::new(String::new());
            std::io::stdin().read_line(&mut line).map_err(Failure::other)?;
            line
        }
    };
    let parsed = PresentedKey::parse(text.trim());
    let may_be_imported = parsed.is_err() && is_importable_format(text.trim());
    if output.json {
        let masked = parsed.as_ref().ok().map(PresentedKey::masked_value);
        let error = parsed.as_ref().err().map(ToString::to_string);
        print_json(&serde_json::json!({
            "well_formed": parsed.is_ok(), "masked": masked, "error": error, "may_be_imported": may_be_imported,
        }))?;
    }
    match parsed {
        Ok(presented) => {
            if !output.json {
                println!("well formed: {}", presented.masked_value());
                println!("Only the server can tell whether the key is known and active.");
            }
            Ok(())
        }
        Err(error) if may_be_imported => Err(Failure::Other(format!(
            "not an API key: {error}; imported keys have other formats, which api_keys.imported accepts"
        ))),
        Err(error) => Err(Failure::Other(format!("not an API key: {error}"))),
    }
}
