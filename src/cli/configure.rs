//! The `keyswap plan` and `keyswap apply` commands.

use std::{io::Read, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

use crate::{
    cli::common::{CommonArgs, Failure, print_json},
    service::{
        self,
        caller::Caller,
        provisioning::{self, Action, DesiredConfiguration, FileFormat, ResourceChange},
    },
};

#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    file: File,
    /// Exit with 2 if changes are pending and with 0 if none are.
    #[arg(long)]
    detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    file: File,
    /// Print the changes without applying them.
    #[arg(long)]
    dry_run: bool,
}

/// The file and how to read it.
#[derive(Debug, Args)]
struct File {
    /// Read permissions, roles, audiences and service clients from this TOML or
    /// YAML file (.toml, .yaml, .yml). Use - for standard input.
    file: PathBuf,
    /// Set the format of a file whose name does not imply it.
    #[arg(long)]
    format: Option<FormatOption>,
    /// Remove entries that the file does not list, for each kind that the file
    /// contains. Built-in entries are kept.
    #[arg(long)]
    prune: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatOption {
    Toml,
    Yaml,
}

pub async fn plan(common: &CommonArgs, plan: Plan) -> Result<ExitCode, Failure> {
    let changes = run(common, &plan.file, true).await?;
    let differs = plan.detailed_exitcode && !changes.is_empty();
    Ok(if differs { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

pub async fn apply(common: &CommonArgs, apply: Apply) -> Result<ExitCode, Failure> {
    run(common, &apply.file, apply.dry_run).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run(common: &CommonArgs, file: &File, only_plan: bool) -> Result<Vec<ResourceChange>, Failure> {
    let wanted = file.read()?;
    let services = common.start().await?;
    let caller = Caller::cli();
    let done = if only_plan {
        provisioning::plan(&services, &caller, wanted, file.prune).await
    } else {
        provisioning::apply(&services, &caller, wanted, file.prune).await
    };
    let changes = done.map_err(list_faults)?;
    if file.json {
        print_json(&serde_json::json!({ "applied": !only_plan, "changes": changes }))?;
    } else {
        print_changes(&changes, only_plan);
    }
    Ok(changes)
}

impl File {
    fn read(&self) -> Result<DesiredConfiguration, Failure> {
        let extension = self.file.extension().and_then(|extension| extension.to_str());
        let format = match (self.format, extension) {
            (Some(FormatOption::Toml), _) | (None, Some("toml")) => FileFormat::Toml,
            (Some(FormatOption::Yaml), _) | (None, Some("yaml" | "yml")) => FileFormat::Yaml,
            (None, _) => {
                let message = format!("{}: set --format toml or --format yaml", self.file.display());
                return Err(Failure::Usage(message));
            }
        };
        let read = if self.file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(&self.file)
        };
        let text = read.map_err(|error| Failure::Other(format!("failed to read {}: {error}", self.file.display())))?;
        provisioning::read(&text, format).map_err(list_faults)
    }
}

/// Formats one fault per line, because a file can have many.
fn list_faults(error: service::Error) -> Failure {
    if let service::Error::Invalid(faults) = &error {
        let lines: Vec<_> = faults.iter().map(|fault| format!("\n  {}: {}", fault.field, fault.message)).collect();
        return Failure::Other(format!("nothing was changed:{}", lines.concat()));
    }
    Failure::Service(error)
}

fn print_changes(changes: &[ResourceChange], only_plan: bool) {
    if changes.is_empty() {
        println!("Nothing to change.");
        return;
    }
    for change in changes {
        println!("{change}");
    }
    let count = |action: Action| changes.iter().filter(|change| change.action == action).count();
    let (new, changed, deleted) = (count(Action::Create), count(Action::Update), count(Action::Delete));
    if only_plan {
        println!("{new} to create, {changed} to change, {deleted} to delete.");
    } else {
        println!("{new} created, {changed} changed, {deleted} deleted.");
    }
}
