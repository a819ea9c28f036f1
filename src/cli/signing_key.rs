//! The `keyswap signing-key` command.

use std::{fs, io, path::PathBuf};

use clap::Subcommand;

use crate::{
    cli::common::{CommonArgs, Failure, print_json, print_result},
    domain::{
        common::derived_id::SigningKeyId,
        signing::{SigningKeyState, rotation::WaitReason},
    },
    service::{
        Services,
        caller::Caller,
        signing::{
            self, Revocation, RotationResult,
            rotation_state::{SigningKeyItem, Timeline, UpcomingStep},
        },
    },
};

#[derive(Debug, Subcommand)]
pub enum SigningKeyCommand {
    /// List all signing keys with their relevant times.
    #[command(after_help = "Examples:\n  keyswap signing-key list")]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the planned steps, their times, and what each one waits for.
    #[command(after_help = "A running server executes the planned steps.\n\nExamples:\n  keyswap signing-key plan")]
    Plan {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Activate the next key. Refused, with the earliest time at which it can
    /// sign, while a verifier may lack it.
    #[command(after_help = "Examples:
  keyswap signing-key rotate --dry-run    show the effect, or the earliest time
  keyswap signing-key rotate")]
    Rotate {
        /// Show what would be done without changing anything.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publish a private key from a file as the next key: PEM (PKCS#8, PKCS#1,
    /// SEC 1) or a private JWK.
    #[command(after_help = "Examples:\n  keyswap signing-key import key.pem")]
    Import {
        /// Read the private key from this file. Use - for standard input.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a compromised key: remove it from the JWKS, destroy its private
    /// key, and activate another key.
    #[command(after_help = "For a private key that may be known to others. Tokens in use break: verifiers
refuse them as soon as they fetch the JWKS again.

Examples:
  keyswap signing-key revoke NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")]
    Revoke {
        /// Select the key by its kid, as `signing-key list` prints it.
        // One thumbprint of 64 begins with a hyphen (RFC 7638, base64url).
        #[arg(allow_hyphen_values = true)]
        kid: SigningKeyId,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(common: &CommonArgs, command: SigningKeyCommand) -> Result<(), Failure> {
    let services = common.start().await?;
    let caller = Caller::cli();
    match command {
        SigningKeyCommand::List { json } => {
            print_result(json, &signing::timeline(&services).await?.data, |keys| print_keys(keys))
        }
        SigningKeyCommand::Plan { json } => print_result(json, &signing::timeline(&services).await?, print_timeline),
        SigningKeyCommand::Rotate { dry_run: true, json } => preview_rotation(&services, json).await,
        SigningKeyCommand::Rotate { dry_run: false, json } => {
            print_result(json, &signing::rotate(&services, &caller, None).await?, print_rotated)
        }
        SigningKeyCommand::Import { file, json } => {
            let read =
                if file.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(&file) };
            let text = read.map(zeroize::Zeroizing::new);
            let text = text.map_err(|error| Failure::Other(format!("failed to read {}: {error}", file.display())))?;
            print_result(json, &signing::import(&services, &caller, &text).await?, |key| {
                println!("{} is published as the next key. It may sign from {}.", key.info.kid, key.may_sign_from);
            })
        }
        SigningKeyCommand::Revoke { kid, json } => {
            print_result(json, &signing::revoke(&services, &caller, kid).await?, print_revoked)
        }
    }
}

/// Prints the planned steps even if the rotation is refused, because they show what it waits for.
async fn preview_rotation(services: &Services, json: bool) -> Result<(), Failure> {
    let (rotated, timeline) = signing::preview_rotation(services).await?;
    if json {
        return print_json(&rotated?);
    }
    if let Ok(rotated) = &rotated {
        println!("{} would become active. Every verifier can know it.", rotated.activated.info.kid);
        for old in &rotated.retired {
            let (kid, live) = (&old.info.kid, old.live_tokens);
            println!("{kid} would be retired, and stay published until its last token expires ({live} live now).");
        }
        println!("Nothing was changed. Without a rotation:\n");
    }
    print_timeline(&timeline);
    rotated?;
    Ok(())
}

fn print_rotated(rotated: &RotationResult) {
    println!(
        "{} is active. Running servers sign with it within signing_keys.replica_staleness.",
        rotated.activated.info.kid
    );
    if let Some(next) = &rotated.next {
        println!("{} is published as the next key. It may sign from {}.", next.info.kid, next.may_sign_from);
    }
    for old in &rotated.retired {
        let until = old.may_be_removed_from.map_or_else(String::new, |time| format!(" until {time} at least"));
        println!("{} is retired. It stays in the JWKS{until}.", old.info.kid);
    }
}

fn print_revoked(revoked: &Revocation) {
    let bounds = &revoked.bounds;
    println!("{} is revoked, and its private key is destroyed.", revoked.revoked.info.kid);
    match &revoked.activated {
        Some(active) => println!("{} is active.", active.info.kid),
        None => println!("It was not active, so the active key does not change."),
    }
    println!("\nWhat may still happen, by the settings in effect:");
    println!("  {}  from then, no replica publishes the key or signs with it", bounds.unpublished_by);
    println!("  {}  until then, a verifier with a cached JWKS may accept its tokens", bounds.accepted_until);
    println!("  {}  by then, every token that Keyswap signed with it has expired", bounds.last_token_ends);
    if revoked.activated.is_some() {
        println!("  {}  until then, a verifier may refuse tokens of the new key, unless it", bounds.successor_known_by);
        println!("                        fetches the JWKS for an unknown kid");
    }
    println!("\nTo refuse its tokens sooner, let verifiers fetch the JWKS again, or restart them.");
}

fn print_keys(keys: &[SigningKeyItem]) {
    println!("{:<43} {:<9} {:<9} {:<24} {:>7} NOTE", "KID", "ALGORITHM", "STATE", "PUBLISHED", "LIVE");
    for key in keys {
        let note = match (key.info.state, key.may_be_removed_from, key.info.removed_at) {
            (SigningKeyState::Next, _, _) => format!("may sign from {}", key.may_sign_from),
            (SigningKeyState::Revoked, _, Some(revoked)) => format!("revoked at {revoked}"),
            (_, _, Some(removed)) => format!("removed at {removed}"),
            (_, Some(from), None) => format!("published until {from} at least"),
            (_, None, None) => "signs".to_owned(),
        };
        println!(
            "{} {:<9} {:<9} {:<24} {:>7} {note}",
            key.info.kid,
            key.info.algorithm.as_str(),
            key.info.state.as_str(),
            key.info.published_at.to_string(),
            key.live_tokens,
        );
    }
}

fn print_timeline(timeline: &Timeline) {
    let published: Vec<_> = timeline.data.iter().filter(|key| key.info.state.is_published()).cloned().collect();
    print_keys(&published);
    println!("\nPlanned steps:");
    for step in &timeline.plan {
        println!("  {}  {}", step.at, describe_step(step));
    }
    if timeline.plan.is_empty() {
        println!("  none until a manual rotation (signing_keys.rotation_period is not set)");
    }
    if let Some(since) = timeline.rules.stable_since {
        println!("\nPropagation delays counted from {since}: the database clock jumped, or a rolled back");
        println!("database was accepted.");
    }
    println!("\nRunning servers:");
    for replica in &timeline.replicas {
        println!("  {}  {}  last seen {}", replica.id, replica.name, replica.seen_at);
    }
    if timeline.replicas.is_empty() {
        println!("  none; the planned steps wait until one runs");
    }
}

fn describe_step(step: &UpcomingStep) -> String {
    let kid = step.kid.as_ref().map(SigningKeyId::as_str).unwrap_or_default();
    let algorithm = step.algorithm.map_or("", |algorithm| algorithm.as_str());
    let what = match step.step {
        "publish" => format!("publish a new {algorithm} key"),
        "see" => format!("count {kid} as published"),
        "activate" => format!("activate {kid}"),
        "retire" => format!("retire {kid}, because no audience requires {algorithm}"),
        "destroy_private_half" => format!("destroy the private key of {kid}"),
        _ => format!("remove {kid} from the JWKS"),
    };
    let why = match step.waits_for {
        WaitReason::Due => "due now",
        WaitReason::Verifiers => "waits until every verifier can know it",
        WaitReason::Period => "waits for signing_keys.rotation_period",
        WaitReason::Replicas => "waits until no replica signs with it",
        WaitReason::Tokens => "waits until its last token expires",
    };
    format!("{what} ({why})")
}
