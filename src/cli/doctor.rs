//! The `keyswap doctor` command: checks every precondition of a start and names a remedy for each
//! fault. Changes nothing.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    app::startup::{self, StartMode},
    cli::common::{CommonArgs, Failure, print_result},
    config::findings,
    service::{Services, events, integrity},
    store::{self, Clock, Replication, ReplicationMode, SystemClock},
};

/// The result of one check.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    status: CheckStatus,
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
    let settings = common.settings()?;
    let mut checks = vec![ok("configuration", "valid")];
    checks.extend(findings::find(&settings).into_iter().map(|finding| warning("configuration", finding)));
    match startup::start(settings, StartMode::Command, Arc::new(SystemClock)).await {
        Ok(services) => check_deployment(&services, &mut checks).await,
        Err(error) => checks.push(fault("start", error)),
    }
    print_result(json, &checks, |checks| {
        for check in checks {
            let label = match check.status {
                CheckStatus::Ok => "ok     ",
                CheckStatus::Warning => "warning",
                CheckStatus::Fault => "FAULT  ",
            };
            println!("{label}  {:<14} {}", check.what, check.detail);
        }
    })?;
    match checks.iter().filter(|check| check.status == CheckStatus::Fault).count() {
        0 => Ok(()),
        faults => Err(Failure::Other(format!("{faults} of {} checks failed", checks.len()))),
    }
}

fn ok(what: &'static str, detail: impl ToString) -> Check {
    Check { what, status: CheckStatus::Ok, detail: detail.to_string() }
}

fn warning(what: &'static str, detail: impl ToString) -> Check {
    Check { what, status: CheckStatus::Warning, detail: detail.to_string() }
}

fn fault(what: &'static str, detail: impl ToString) -> Check {
    Check { what, status: CheckStatus::Fault, detail: detail.to_string() }
}

async fn check_deployment(services: &Services, checks: &mut Vec<Check>) {
    checks.extend([check_master_keys(services), check_rollback_guard(services)]);
    for kid in &services.keys.view().unusable {
        checks.push(warning(
            "signing keys",
            format!("failed to decrypt {kid}: its row was altered; rotate the signing keys, or restore the row"),
        ));
    }
    checks.extend([check_durability(services).await, check_replication(services).await]);
    checks.extend([check_clocks(services).await, check_signer(services)]);
    checks.push(check_integrity(services).await);
    checks.push(match events::verify_audit_log(services).await {
        Ok(events) => ok("audit log", format!("{events} events, hash chain intact")),
        Err(error) => fault("audit log", error),
    });
    let admin_key_file = services.settings.admin_key_file();
    if admin_key_file.exists() {
        let file = admin_key_file.display();
        let detail = format!("{file} contains the administrator's API key; move it to a secret store");
        checks.push(warning("administrator", detail));
    }
}

fn check_master_keys(services: &Services) -> Check {
    let held = services.master_keys.snapshot();
    match held.missing().values().next() {
        Some(lack) => warning("master keys", format!("{}; copy the file to this machine", lack.reason)),
        None => ok("master keys", format!("{} registered, all files present", held.fingerprints().len())),
    }
}

fn check_rollback_guard(services: &Services) -> Check {
    let guard = services.rollback_guard.state();
    match guard.describe_problem() {
        Some(why) if guard.requires_decision() => fault("rollback guard", why),
        Some(why) => warning("rollback guard", why),
        None => match services.rollback_guard.describe_memory_only() {
            Some(notice) => warning("rollback guard", notice),
            None => ok("rollback guard", "the database was not rolled back"),
        },
    }
}

async fn check_integrity(services: &Services) -> Check {
    match integrity::check(services, Duration::ZERO).await {
        Ok(report) if report.faults.is_empty() => {
            ok("integrity", format!("{} rows are unaltered", report.checked.values().sum::<usize>()))
        }
        Ok(report) => {
            let rows: Vec<_> =
                report.faults.iter().take(5).map(|row| format!("{}/{}", row.table.as_str(), row.id)).collect();
            let (count, rows) = (report.faults.len(), rows.join(", "));
            fault(
                "integrity",
                format!("{count} rows were altered outside of Keyswap: {rows}; see `keyswap integrity list`"),
            )
        }
        Err(error) => fault("integrity", error),
    }
}

async fn check_durability(services: &Services) -> Check {
    match services.store.read(store::durability_faults).await {
        Ok(faults) if faults.is_empty() => ok("durability", "acknowledged changes are flushed to disk"),
        Ok(faults) => warning("durability", format!("a crash can lose acknowledged changes: {}", faults.join(", "))),
        Err(error) => fault("durability", error),
    }
}

/// Reports what a failover of the database can lose.
async fn check_replication(services: &Services) -> Check {
    let found = match services.store.read(store::read_replication).await {
        Ok(Some(found)) => found,
        Ok(None) => return ok("replication", "SQLite: one server"),
        Err(error) => return fault("replication", error),
    };
    // With several hosts, the URL lists them.
    let url = &services.settings.database.url;
    let Replication { synchronous_standby_names: names, synchronous_commit: commit, standbys, .. } = &found;
    match found.mode() {
        ReplicationMode::NoStandby => ok("replication", format!("{url}: no standby is connected")),
        ReplicationMode::Synchronous if found.synchronous_standbys + found.hidden_standbys == 0 => warning(
            "replication",
            format!(
                "{url}: synchronous, and no standby of synchronous_standby_names = '{names}' is connected: changes \
                 wait, and servers answer 503; start the standby"
            ),
        ),
        ReplicationMode::Synchronous => ok(
            "replication",
            format!(
                "{url}: synchronous (synchronous_standby_names = '{names}', synchronous_commit = {commit}), {standbys} \
                 standbys: a failover to a synchronous standby loses no acknowledged change"
            ),
        ),
        ReplicationMode::Asynchronous => warning(
            "replication",
            format!(
                "{url}: asynchronous (synchronous_standby_names = '{names}', synchronous_commit = {commit}), \
                 {standbys} standbys: a failover loses the changes that the new primary has not received, such as the \
                 revocation of a key; set synchronous_standby_names"
            ),
        ),
    }
}

async fn check_clocks(services: &Services) -> Check {
    let local = SystemClock.now();
    match services.store.now().await {
        Ok(remote) => {
            let difference = remote.elapsed_since(local).max(local.elapsed_since(remote));
            if difference > services.settings.timing.clock_skew {
                let detail = format!("this machine and the database differ by {difference}; synchronize them");
                warning("clocks", detail)
            } else {
                ok("clocks", "this machine and the database agree")
            }
        }
        Err(error) => fault("database", error),
    }
}

fn check_signer(services: &Services) -> Check {
    let view = services.keys.view();
    let wanted = services.settings.signing_keys.algorithm;
    match view.select_signer_at_refresh(wanted) {
        Ok(signer) if signer.jwk().alg == wanted => {
            ok("signing keys", format!("{} published, active: {}", view.published.len(), signer.jwk().kid))
        }
        Ok(signer) => {
            let active = signer.jwk().alg;
            let detail = format!("active: {active}; run `keyswap signing-key rotate` to change to {wanted}");
            warning("signing keys", detail)
        }
        Err(why) => fault("signing keys", why),
    }
}
