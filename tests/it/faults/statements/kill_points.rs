//! Kills an operation at every point, each time on a copy of the same state.

use std::{
    collections::BTreeSet,
    env,
    process::{Command, Stdio},
    time::SystemTime,
};

use keyswap::{
    domain::exchange::key_context::ExchangeParameters,
    service::{
        credentials::{brute_force::Source, verify::PresentedCredential},
        events, exchange,
    },
    telemetry::labels::RequestForm,
};

use super::child::{self, CHILD, Operation, TASK, Task, points};
use crate::{
    faults::{
        process::{Deployment, LONG, Process, ProcessOutput},
        tables::lines,
    },
    support::{Kind, panics},
};

/// A database and its keys at one moment. It has no open connections between calls, so that it can
/// be copied.
pub struct State {
    pub deployment: Deployment,
    offset: i64,
}

impl State {
    pub fn of(deployment: &Deployment) -> Self {
        Self { deployment: deployment.with(&[]), offset: 0 }
    }

    fn copy(&self) -> Self {
        Self { deployment: self.deployment.copy(), offset: self.offset }
    }

    pub fn advance_clock(&mut self, hours: i64) {
        self.offset += hours * 3_600_000;
        self.deployment.database.set_clock(hours * 3_600_000);
    }

    /// Performs the operation in a child process, which is killed if it reaches the point
    /// `dies_at`.
    fn run(&self, perform: Operation, value: &str, dies_at: Option<usize>) -> ProcessOutput {
        let settings = self.deployment.settings.clone();
        let task = Task { perform, value: value.to_owned(), dies_at, settings, offset: self.offset };
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", CHILD, "--ignored", "--nocapture"]);
        command.env(TASK, serde_json::to_string(&task).unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::spawn(command).end(LONG)
    }

    /// Performs the operation undisturbed, and returns the points that it passed.
    pub fn done(&self, perform: Operation, value: &str) -> Vec<String> {
        let said = self.run(perform, value, None);
        assert_eq!(said.code, Some(0), "{said:?}");
        points(&said.err)
    }

    /// Completes the operation in the test process, and verifies the audit log.
    pub async fn finish(&self, perform: Operation, value: &str) {
        let services = child::services(&self.deployment.settings, self.offset).await;
        child::perform(&services, perform, value).await;
        events::verify_audit_log(&services).await.unwrap();
    }

    /// Asserts that a newly started instance exchanges the key.
    pub async fn exchange_succeeds(&self, key: &str, when: &str) {
        let services = child::services(&self.deployment.settings, self.offset).await;
        let attempt = PresentedCredential { value: key, source: Source::UNKNOWN, form: Some(RequestForm::Exchange) };
        let issued = exchange::exchange(&services, attempt, &ExchangeParameters::default()).await;
        assert!(issued.is_ok(), "{when}: {:?}", issued.err());
    }

    pub fn count(&self, rows: &str) -> usize {
        lines(&self.deployment, &format!("SELECT 'x' AS line FROM {rows}")).len()
    }

    /// Asserts that there are as many events as rows: a row and its event are written in one
    /// transaction.
    pub fn is_reported(&self, rows: &str, event: &str, when: &str) {
        let (rows, events) = (self.count(rows), self.count(&format!("events WHERE kind = '{event}'")));
        assert_eq!(rows, events, "{event}, {when}");
    }

    /// Asserts that `doctor` reports no fault and an unbroken audit log.
    pub fn is_consistent(&self) {
        let doctor = self.deployment.run(&["doctor"]);
        assert!(doctor.code == Some(0) && doctor.out.contains("hash chain intact"), "{doctor:?}");
    }

    /// The result of an operation, without data that differs from run to run.
    fn outcome(&self) -> Vec<String> {
        let mut outcome = Vec::new();
        for (table, column) in [("events", "kind"), ("signing_keys", "state"), ("master_keys", "state")] {
            let query = format!(
                "SELECT '{table} ' || {column} || ' ' || COUNT(*) AS line FROM {table} GROUP BY {column} ORDER BY {column}"
            );
            outcome.extend(lines(&self.deployment, &query));
        }
        outcome
    }
}

/// The points at which the operation is killed.
#[derive(Clone, Copy, Debug)]
enum Chosen {
    All,
    /// Every fourth point, by the remainder of its number divided by 4.
    Quarter(usize),
}

/// The operations of one test.
pub struct Walk {
    pub kind: Kind,
    chosen: Chosen,
    /// The number of points so far, and of kills.
    points: usize,
    kills: usize,
}

impl Walk {
    /// Runs a test on a quarter of the points. The quarter changes with each commit and each day,
    /// unless KEYSWAP_TEST_QUARTER is set.
    pub fn on_a_quarter(kind: Kind, test: impl AsyncFnOnce(&mut Self)) {
        let quarter = quarter();
        eprintln!("a quarter of the points: KEYSWAP_TEST_QUARTER={quarter} takes the same ones");
        Self { kind, chosen: Chosen::Quarter(quarter), points: 0, kills: 0 }.run(test);
    }

    pub fn on_all(kind: Kind, test: impl AsyncFnOnce(&mut Self)) {
        Self { kind, chosen: Chosen::All, points: 0, kills: 0 }.run(test);
    }

    fn run(mut self, test: impl AsyncFnOnce(&mut Self)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(test(&mut self));
        eprintln!("{:?}: killed at {} of {} points", self.kind, self.kills, self.points);
        panics::assert_none();
    }

    /// Kills the operation at each chosen point, each time on a copy of `state`. `look` checks the
    /// state after the kill and completes the operation; the result must then equal that of an
    /// undisturbed run.
    ///
    /// `commits` is the minimum number of transactions that an undisturbed run commits.
    pub async fn kill_at_each(
        &mut self,
        state: &State,
        (perform, value): (Operation, &str),
        commits: usize,
        mut look: impl AsyncFnMut(&State, &str),
    ) {
        let undisturbed = state.copy();
        let whole = undisturbed.done(perform, value);
        let found = whole.iter().filter(|point| point.ends_with(": committed")).count();
        assert!(found >= commits, "{perform:?} commits {found} times: {whole:#?}");
        look(&undisturbed, &format!("{perform:?}, undisturbed")).await;
        undisturbed.is_consistent();
        let outcome = undisturbed.outcome();

        let chosen: BTreeSet<_> = (1..=whole.len()).filter(|at| self.chooses(self.points + at)).collect();
        let mut visited = BTreeSet::new();
        for at in &chosen {
            let copy = state.copy();
            let said = copy.run(perform, value, Some(*at));
            assert_eq!(said.code, None, "{perform:?} should have died at point {at}: {said:?}");
            let passed = points(&said.err);
            assert_eq!(passed, whole[..*at], "{perform:?}, point {at}: another way than the undisturbed run");
            let when = format!("{perform:?}, killed at point {at} of {}: {}", whole.len(), whole[at - 1]);
            look(&copy, &when).await;
            assert_eq!(copy.outcome(), outcome, "{when}: finished differently");
            visited.insert(passed.last().cloned().unwrap());
        }
        let wanted: BTreeSet<_> = chosen.iter().map(|at| whole[at - 1].clone()).collect();
        assert_eq!(visited, wanted, "{perform:?}: the points that were visited are those that were chosen");
        if self.is_on_all() {
            assert_eq!(visited, whole.iter().cloned().collect(), "{perform:?}: and they are all of them");
        }
        // A point after the last one does not exist.
        let past = state.copy().run(perform, value, Some(whole.len() + 1));
        assert_eq!((past.code, points(&past.err)), (Some(0), whole.clone()), "{perform:?}: {past:?}");
        eprintln!("{:?}, {perform:?}: {} points, {found} commits; killed at {}", self.kind, whole.len(), visited.len());
        self.points += whole.len();
        self.kills += visited.len();
    }

    pub const fn is_on_all(&self) -> bool {
        matches!(self.chosen, Chosen::All)
    }

    fn chooses(&self, point: usize) -> bool {
        match self.chosen {
            Chosen::All => true,
            Chosen::Quarter(quarter) => point % 4 == quarter,
        }
    }
}

/// KEYSWAP_TEST_QUARTER, or a number that changes with each commit and each day.
fn quarter() -> usize {
    if let Ok(named) = env::var("KEYSWAP_TEST_QUARTER") {
        return named.parse::<usize>().expect("KEYSWAP_TEST_QUARTER is a number") % 4;
    }
    let count =
        Command::new("git").args(["rev-list", "--count", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let commits = count.ok().and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().ok());
    // Without a Git history, the number depends on the day alone.
    let days = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    (commits.unwrap_or_default() + usize::try_from(days).unwrap()) % 4
}
