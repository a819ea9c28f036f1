//! The `keyswap doctor` command: checks every precondition of a start and names a remedy for each
//! fault. Changes nothing.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    app::startup::Mode,
    cli::{
        common::{Common, Failure, print_json},
        compose,
    },
    config::Config,
    service,
    store::{self, Clock, SystemClock},
};

/// The result of one check.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warning,
    Fault,
}

pub async fn run(common: &Common, json: bool) -> Result<(), Failure> {
    let mut checks = Vec::new();
    match common.config() {
        Ok(config) => {
            checks.push(ok("configuration", "in order"));
            checks.push(public_url(&config));
            deployment(&config, &mut checks).await;
        }
        Err(failure) => checks.push(fault("configuration", &failure)),
    }
    if json {
        print_json(&checks)?;
    } else {
        for check in &checks {
            let mark = match check.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Fault => "FAULT  ",
            };
            println!("{mark}  {:<14} {}", check.what, check.detail);
        }
    }
    match checks.iter().filter(|check| check.verdict == Verdict::Fault).count() {
        0 => Ok(()),
        faults => Err(Failure::Other(format!("{faults} of {} checks failed", checks.len()))),
    }
}

fn ok(what: &'static str, detail: impl ToString) -> Check {
    Check { what, verdict: Verdict::Ok, detail: detail.to_string() }
}

fn warning(what: &'static str, detail: impl ToString) -> Check {
    Check { what, verdict: Verdict::Warning, detail: detail.to_string() }
}

fn fault(what: &'static str, detail: &impl ToString) -> Check {
    Check { what, verdict: Verdict::Fault, detail: detail.to_string() }
}

fn public_url(config: &Config) -> Check {
    let url = &config.server.public_url;
    if url.starts_with("https://") {
        ok("public URL", url)
    } else if ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| url.starts_with(local)) {
        warning("public URL", format!("{url} is good for a trial on this machine alone"))
    } else {
        warning("public URL", format!("{url}: keys and tokens would cross the network in the clear; use https"))
    }
}

async fn deployment(config: &Config, checks: &mut Vec<Check>) {
    let app = match compose::app(config, Mode::Command, Arc::new(SystemClock)).await {
        Ok(app) => app,
        Err(failure) => {
            checks.push(fault("start", &failure));
            return;
        }
    };
    let held = app.master.held();
    checks.push(match held.missing().values().next() {
        Some(lack) => warning("master keys", format!("{}: copy the file here before the rotation goes on", lack.why)),
        None => ok("master keys", format!("{} registered and here", held.fingerprints().len())),
    });
    let verdict = app.witness.verdict();
    checks.push(match verdict.told() {
        Some(why) if verdict.asks() => fault("witness", &why),
        Some(why) => warning("witness", why),
        None => ok("witness", "the database is as far as it was seen"),
    });
    for kid in &app.keys.view().unusable {
        checks.push(warning(
            "signing keys",
            format!("{kid} does not open: its row was altered; rotate it away, or restore the row"),
        ));
    }
    match app.store.read(store::durability_faults).await {
        Ok(faults) if faults.is_empty() => checks.push(ok("durability", "acknowledged changes are on the disk")),
        Ok(faults) => {
            checks.push(warning("durability", format!("acknowledged changes can be lost: {}", faults.join(", "))))
        }
        Err(error) => checks.push(fault("durability", &error)),
    }
    checks.push(clock(&app, config).await);
    let view = app.keys.view();
    match view.signer_of_look(app.settings.algorithm) {
        Ok(minter) if minter.jwk().alg == app.settings.algorithm => {
            checks.push(ok("signing keys", format!("{} published; {} signs", view.published.len(), minter.jwk().kid)));
        }
        Ok(minter) => checks.push(warning(
            "signing keys",
            format!(
                "{} signs until `keyswap signing-key rotate` changes over to {}",
                minter.jwk().alg,
                app.settings.algorithm
            ),
        )),
        Err(why) => checks.push(fault("signing keys", &why)),
    }
    match service::events::verify_chain(&app).await {
        Ok(events) => checks.push(ok("audit trail", format!("{events} events, every link holds"))),
        Err(error) => checks.push(fault("audit trail", &error)),
    }
    if config.admin_key_file.exists() {
        checks.push(warning(
            "administrator",
            format!("{} still holds the administrator's key: move it to a safe place", config.admin_key_file.display()),
        ));
    }
}

async fn clock(app: &service::App, config: &Config) -> Check {
    let ours = Arc::new(SystemClock).now();
    match app.store.now().await {
        Ok(theirs) => {
            let apart = theirs.since(ours).max(ours.since(theirs));
            if apart > config.signing_keys.timing.clock_skew {
                warning("clocks", format!("this machine and the database are {apart} apart"))
            } else {
                ok("clocks", "this machine and the database agree")
            }
        }
        Err(error) => fault("database", &error),
    }
}
