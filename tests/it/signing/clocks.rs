//! Clocks that differ, and clocks that are set at critical points.

use std::{sync::Arc, time::Duration};

use keyswap::{
    app::startup::{self, StartMode},
    domain::common::time::{Span, Timestamp},
    service::{Error, Services, caller::Caller, signing},
    store::Clock,
};
use serde_json::Value;

use crate::support::{Database, Kind, MANUAL_JOBS, Server};

/// A machine clock that is 45 seconds behind.
#[derive(Debug)]
struct Late(Arc<dyn Clock>);

impl Clock for Late {
    fn now(&self) -> Timestamp {
        self.0.now().minus(Span::from_secs(45))
    }

    fn monotonic_elapsed(&self) -> Duration {
        self.0.monotonic_elapsed()
    }
}

/// The application of a command on a machine whose clock is behind.
async fn command(database: &Database) -> Services {
    let path = |name: &str| database.dir.path().join(name).display().to_string();
    let settings = [
        format!("database.url={}", database.url),
        format!("keys.dir={}", path("keys")),
        "server.public_url=http://keyswap.test".to_owned(),
        "signing_keys.rotation_period=".to_owned(),
    ];
    let config = keyswap::config::Settings::load(None, &settings).unwrap();
    startup::start(config, StartMode::Command, Arc::new(Late(database.clock()))).await.unwrap()
}

/// Only on PostgreSQL: with SQLite, the machine clock is the database clock.
#[test]
fn command_with_a_wrong_clock_restarts_no_delay() {
    Server::run(Kind::Postgres, &[MANUAL_JOBS], |server| async move {
        // A server has checked the clock and recorded it.
        server.run_jobs().await;
        let services = command(&server.database).await;
        let steady = async || signing::timeline(&services).await.unwrap().rules.stable_since;
        let rotate = async || signing::rotate(&services, &Caller::cli(), None).await.unwrap_err();
        for _ in 0..2 {
            let refused = rotate().await;
            assert!(matches!(refused, Error::RotationTooEarly(_)), "servers vouch for the clock: {refused}");
        }
        let jumped = |event: &Value| event["type"] == "clock.jumped";
        assert_eq!((steady().await, server.events().await.iter().filter(|event| jumped(event)).count()), (None, 0));
        // Long after the last check by a server, the command can only refuse. It reports the
        // difference of the clocks.
        let database = server.stop().await;
        database.move_clock(3_600_000);
        let services = command(&database).await;
        for _ in 0..2 {
            let refused = signing::rotate(&services, &Caller::cli(), None).await.unwrap_err();
            // The two clocks are read at slightly different times.
            let about_45s = ["44s", "45s"].iter().any(|figure| refused.to_string().contains(figure));
            assert!(matches!(refused, Error::Conflict(_)) && about_45s, "{refused}");
        }
        assert_eq!(signing::timeline(&services).await.unwrap().rules.stable_since, None, "no delay restarts");
    });
}
