//! The `keyswap doctor` command: checks every precondition of a start and names a remedy for each
//! fault. Changes nothing.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    app::startup::{self, StartMode},
    cli::common::{CommonArgs, Failure, print_json},
    config::Settings,
    service,
    store::{self, Clock, SystemClock},
};

/// The result of one check.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: CheckStatus,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum CheckStatus {
    Ok,
    Warning,
    Fault,
}

pub async fn run(common: &CommonArgs, json: bool) -> Result<(), Failure> {
    let mut checks = Vec::new();
    let settings = common.settings()?;
    checks.push(ok("configuration", "valid"));
    checks.push(public_url(&settings));
    check_deployment(&settings, &mut checks).await;
    if json {
        print_json(&checks)?;
    } else {
        for check in &checks {
            let mark = match check.verdict {
                CheckStatus::Ok => "ok     ",
                CheckStatus::Warning => "warning",
                CheckStatus::Fault => "FAULT  ",
            };
            println!("{mark}  {:<14} {}", check.what, check.detail);
        }
    }
    match checks.iter().filter(|check| check.verdict == CheckStatus::Fault).count() {
        0 => Ok(()),
        faults => Err(Failure::Other(format!("{faults} of {} checks failed", checks.len()))),
    }
}

fn ok(what: &'static str, detail: impl ToString) -> Check {
    Check { what, verdict: CheckStatus::Ok, detail: detail.to_string() }
}

fn warn_check(what: &'static str, detail: impl ToString) -> Check {
    Check { what, verdict: CheckStatus::Warning, detail: detail.to_string() }
}

fn fault(what: &'static str, detail: &impl ToString) -> Check {
    Check { what, verdict: CheckStatus::Fault, detail: detail.to_string() }
}

fn public_url(settings: &Settings) -> Check {
    let url = &settings.server.public_url;
    if url.starts_with("https://") {
        ok("public URL", url)
    } else if ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| url.starts_with(local)) {
        warn_check("public URL", format!("{url} is good for a trial on this machine alone"))
    } else {
        warn_check("public URL", format!("{url}: keys and tokens would cross the network in the clear; use https"))
    }
}

async fn check_deployment(settings: &Settings, checks: &mut Vec<Check>) {
    let services = match startup::start(settings.clone(), StartMode::Command, Arc::new(SystemClock)).await {
        Ok(services) => services,
        Err(failure) => {
            checks.push(fault("start", &failure));
            return;
        }
    };
    let held = services.master.held();
    checks.push(match held.missing().values().next() {
        Some(lack) => {
            warn_check("master keys", format!("{}: copy the file here before the rotation goes on", lack.why))
        }
        None => ok("master keys", format!("{} registered and here", held.fingerprints().len())),
    });
    let verdict = services.rollback_guard.verdict();
    checks.push(match verdict.told() {
        Some(why) if verdict.requires_decision() => fault("rollback_guard", &why),
        Some(why) => warn_check("rollback_guard", why),
        None => ok("rollback_guard", "the database is as far as it was seen"),
    });
    for kid in &services.keys.view().unusable {
        checks.push(warn_check(
            "signing keys",
            format!("{kid} does not open: its row was altered; rotate it away, or restore the row"),
        ));
    }
    match services.store.read(store::durability_faults).await {
        Ok(faults) if faults.is_empty() => checks.push(ok("durability", "acknowledged changes are on the disk")),
        Ok(faults) => {
            checks.push(warn_check("durability", format!("acknowledged changes can be lost: {}", faults.join(", "))))
        }
        Err(error) => checks.push(fault("durability", &error)),
    }
    checks.push(check_clocks(&services, settings).await);
    let view = services.keys.view();
    match view.select_signer_at_refresh(services.settings.signing_keys.algorithm) {
        Ok(minter) if minter.jwk().alg == services.settings.signing_keys.algorithm => {
            checks.push(ok("signing keys", format!("{} published; {} signs", view.published.len(), minter.jwk().kid)));
        }
        Ok(minter) => checks.push(warn_check(
            "signing keys",
            format!(
                "{} signs until `keyswap signing-key rotate` changes over to {}",
                minter.jwk().alg,
                services.settings.signing_keys.algorithm
            ),
        )),
        Err(why) => checks.push(fault("signing keys", &why)),
    }
    match service::events::verify_audit_log(&services).await {
        Ok(events) => checks.push(ok("audit trail", format!("{events} events, every link holds"))),
        Err(error) => checks.push(fault("audit trail", &error)),
    }
    if settings.admin_key_file().exists() {
        checks.push(warn_check(
            "administrator",
            format!(
                "{} still holds the administrator's key: move it to a safe place",
                settings.admin_key_file().display()
            ),
        ));
    }
}

async fn check_clocks(services: &service::Services, settings: &Settings) -> Check {
    let ours = Arc::new(SystemClock).now();
    match services.store.now().await {
        Ok(theirs) => {
            let apart = theirs.elapsed_since(ours).max(ours.elapsed_since(theirs));
            if apart > settings.timing.clock_skew {
                warn_check("clocks", format!("this machine and the database are {apart} apart"))
            } else {
                ok("clocks", "this machine and the database agree")
            }
        }
        Err(error) => fault("database", &error),
    }
}
