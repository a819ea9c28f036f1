//! What `keyswap api-key` prints about one key.

use std::{fs::File, io::Read as _, path::Path};

use crate::{
    cli::{
        api_key_options::Output,
        common::{CommonArgs, Failure, print_json},
    },
    domain::{
        access::owner::Owner,
        common::time::Timestamp,
        credentials::{api_key::StateReason, format::PresentedKey, imported::is_importable_format},
    },
    http::ApiKeyBody,
    service::api_keys::types::ApiKeyView,
};

/// Formats a time that may be absent.
pub fn time_or_never(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}

pub fn print_key(shown: ApiKeyView, value: Option<&str>, output: &Output) -> Result<(), Failure> {
    if output.json {
        return print_json(&ApiKeyBody::new(shown, value));
    }
    let state = match shown.reason {
        None => shown.state.as_str().to_owned(),
        Some(reason) => format!("{} ({})", shown.state.as_str(), StateReason::as_str(reason).replace('_', " ")),
    };
    let key = &shown.key;
    let owner = &key.ownership.owner;
    let client_id = match owner {
        Owner::ServiceClient(client) => client.to_string(),
        Owner::User(_) | Owner::Organization(_) | Owner::Unowned => key.id.to_string(),
    };
    let lines = [
        ("id", key.id.to_string()),
        ("client id", client_id),
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

pub fn inspect_key(common: &CommonArgs, file: &Path, output: &Output) -> Result<(), Failure> {
    if common.config.is_some() || !common.set.is_empty() {
        let message = "api-key inspect works offline and does not read --config and --set; remove them";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    if file.as_os_str() == "-" {
        std::io::stdin().read_line(&mut text).map_err(Failure::other)?;
    } else {
        // The path is not quoted, because it may be a key.
        let unreadable = |error| {
            Failure::Usage(format!(
                "failed to read the file: {error}; give a key on standard input or in a file, not as an argument"
            ))
        };
        File::open(file).and_then(|mut file| file.read_to_string(&mut text)).map_err(unreadable)?;
    }
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
