//! The `keyswap signing-key` command.

use std::path::PathBuf;

use clap::Subcommand;

use crate::{
    cli::common::{CommonArgs, Failure, print_json},
    domain::{
        common::derived_id::SigningKeyId,
        signing::{SigningKeyState, rotation::WaitReason},
    },
    service::{
        caller::Caller,
        signing::{
            self, Revocation, Rotated,
            loaded::{Listed, Timeline, Upcoming},
        },
    },
};

#[derive(Debug, Subcommand)]
pub enum SigningKeyCommand {
    /// List all signing keys with their relevant times.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the planned steps, their times, and what each one waits for.
    #[command(after_help = "A running server does what is planned by itself. Example:\n  keyswap signing-key plan")]
    Plan {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Activate the next key. Refused, with the earliest time at which it can
    /// sign, while a verifier may lack it.
    #[command(
        after_help = "Examples:\n  keyswap signing-key rotate --dry-run   what it would do, or from when it can\n  \
                            keyswap signing-key rotate"
    )]
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
    Import {
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a compromised key: remove it from the JWKS, destroy its private
    /// key, and activate another key.
    #[command(
        after_help = "For a key whose private half somebody may have. It breaks tokens that are in use: verifiers refuse them as soon \
                            as they fetch the JWKS again.\n\nExample:\n  keyswap signing-key revoke NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    )]
    Revoke {
        /// Select the key by its kid, as `signing-key list` prints it.
        kid: SigningKeyId,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(common: &CommonArgs, command: SigningKeyCommand) -> Result<(), Failure> {
    let services = common.start().await?;
    match command {
        SigningKeyCommand::List { json } => {
            let timeline = signing::timeline(&services).await?;
            if json {
                return print_json(&timeline.data);
            }
            print_keys(&timeline.data);
            Ok(())
        }
        SigningKeyCommand::Plan { json } => {
            let timeline = signing::timeline(&services).await?;
            if json {
                return print_json(&timeline);
            }
            print_timeline(&timeline);
            Ok(())
        }
        SigningKeyCommand::Rotate { dry_run: true, json } => {
            let (rotated, timeline) = signing::preview_rotation(&services).await?;
            if json {
                return print_json(&rotated?);
            }
            if let Ok(rotated) = &rotated {
                print_planned(rotated);
            }
            // A refused rotation prints the timeline as well, because it contains what the rotation
            // waits for.
            print_timeline(&timeline);
            rotated?;
            Ok(())
        }
        SigningKeyCommand::Rotate { dry_run: false, json } => {
            let rotated = signing::rotate(&services, &Caller::cli(), None).await?;
            if json {
                return print_json(&rotated);
            }
            print_rotated(&rotated);
            Ok(())
        }
        SigningKeyCommand::Import { file, json } => {
            let text = std::fs::read_to_string(&file)
                .map(zeroize::Zeroizing::new)
                .map_err(|error| Failure::Other(format!("cannot read {}: {error}", file.display())))?;
            let key = signing::import(&services, &Caller::cli(), &text).await?;
            if json {
                return print_json(&key);
            }
            println!("{} is published, and may sign from {}.", key.info.kid, key.may_sign_from);
            Ok(())
        }
        SigningKeyCommand::Revoke { kid, json } => {
            let revoked = signing::revoke(&services, &Caller::cli(), kid).await?;
            if json {
                return print_json(&revoked);
            }
            print_revoked(&revoked);
            Ok(())
        }
    }
}

fn print_rotated(rotated: &Rotated) {
    println!(
        "{} signs now; running servers change over within signing_keys.replica_staleness.",
        rotated.activated.info.kid
    );
    if let Some(next) = &rotated.next {
        println!("{} is published to follow it, and may sign from {}.", next.info.kid, next.may_sign_from);
    }
    for old in &rotated.retired {
        let until = old.may_be_removed_from.map_or_else(String::new, |time| format!(" until {time} at least"));
        println!("{} signs no more and stays published{until}.", old.info.kid);
    }
}

fn print_planned(rotated: &Rotated) {
    println!("{} would sign; every verifier can know it.", rotated.activated.info.kid);
    for old in &rotated.retired {
        println!(
            "{} would sign no more, and stay published until its last token is dead ({} live now).",
            old.info.kid, old.live_tokens
        );
    }
    println!("Nothing was changed. Until somebody rotates:\n");
}

fn print_revoked(revoked: &Revocation) {
    let bounds = &revoked.bounds;
    println!("{} is revoked, and its private half destroyed.", revoked.revoked.info.kid);
    match &revoked.activated {
        Some(signs) => println!("{} signs in its place.", signs.info.kid),
        None => println!("It did not sign; nothing else changes."),
    }
    println!("\nWhat verifiers may still do, by what is configured here:");
    println!("  {}  no replica serves the key or signs by it any more, from then", bounds.unpublished_by);
    println!(
        "  {}  a verifier may accept tokens by it until then, from a JWKS it fetched before",
        bounds.accepted_until
    );
    println!("  {}  the last token that Keyswap itself signed by it is dead by then", bounds.last_token_ends);
    if revoked.activated.is_some() {
        println!(
            "  {}  a verifier may refuse tokens by the new key until then, unless it fetches the JWKS for a kid it does not know",
            bounds.successor_known_by
        );
    }
    println!("\nWhere tokens by it must be refused sooner, make verifiers fetch the JWKS again, or restart them.");
}

fn print_keys(keys: &[Listed]) {
    println!("{:<43} {:<9} {:<9} {:<24} {:>7} NOTE", "KID", "ALGORITHM", "STATE", "PUBLISHED", "LIVE");
    for key in keys {
        let note = match (key.info.state, key.may_be_removed_from, key.info.removed_at) {
            (SigningKeyState::Next, _, _) => format!("may sign from {}", key.may_sign_from),
            (SigningKeyState::Revoked, _, Some(revoked)) => format!("revoked at {revoked}"),
            (_, _, Some(removed)) => format!("removed at {removed}"),
            (_, Some(from), None) => format!("stays published until {from} at least"),
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
    println!("\nWhat comes:");
    for step in &timeline.plan {
        println!("  {}  {}", step.at, told(step));
    }
    if timeline.plan.is_empty() {
        println!("  nothing, until somebody rotates (signing_keys.rotation_period is not set)");
    }
    if let Some(since) = timeline.rules.steady_since {
        println!(
            "\nEvery wait began anew at {since}: the database's clock jumped, or an older state of it was accepted."
        );
    }
    println!("\nServers that are up:");
    for replica in &timeline.replicas {
        println!("  {}  {}  last seen {}", replica.id, replica.name, replica.seen_at);
    }
    if timeline.replicas.is_empty() {
        println!("  none: what is planned is done when one runs");
    }
}

fn told(step: &Upcoming) -> String {
    let kid = step.kid.as_ref().map(SigningKeyId::as_str).unwrap_or_default();
    let algorithm = step.algorithm.map_or("", |algorithm| algorithm.as_str());
    let what = match step.step {
        "publish" => format!("a new {algorithm} key is published"),
        "see" => format!("{kid} begins to count as published"),
        "activate" => format!("{kid} signs"),
        "retire" => format!("{kid} signs no more: nobody asks for {algorithm}"),
        "destroy_private_half" => format!("the private half of {kid} is destroyed"),
        _ => format!("{kid} leaves the JWKS"),
    };
    let why = match step.waits_for {
        WaitReason::Due => "due now",
        WaitReason::Verifiers => "waits until every verifier can know it",
        WaitReason::Period => "waits for signing_keys.rotation_period",
        WaitReason::Replicas => "waits until every replica knows that it signs no more",
        WaitReason::Tokens => "waits until its last token is dead",
    };
    format!("{what} ({why})")
}
