//! `POST /v1/import`: lines in, lines out.

use std::{
    future::{Ready, ready},
    time::Duration,
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::CACHE_CONTROL,
    web::{Bytes, Data},
};
use futures_util::{
    Stream, StreamExt,
    stream::{self, LocalBoxStream},
};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::{
    domain::policy::ManageDirectory,
    http::{
        access::Caller,
        body::{self, BodyError},
        openapi::answers::ReportLines,
        problem::Problem,
    },
    service::{
        App,
        directory::import::{Counts, Import, Report},
    },
};

/// How long nothing of the body may arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is told how far the import is.
const TELL_EVERY: Duration = Duration::from_secs(1);

const NDJSON: &str = "application/x-ndjson";

/// A body of lines, not read yet: who calls is asked first.
pub struct Lines {
    media_type: String,
    payload: Payload,
}

impl FromRequest for Lines {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self { media_type: body::media_type(request), payload: payload.take() }))
    }
}

/// A line of the answer.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Progress {
        progress: Counts,
    },
    Report {
        report: &'a Report,
    },
    /// What is in for certain, and why there is no more.
    Broken {
        error: &'a Problem,
        progress: Counts,
    },
}

/// Mirrors organizations, users and members, many at once.
///
/// Each line is put as its own PUT would: whole, and the same again changes nothing. A line that is against the rules is refused alone,
/// and the report says why.
#[utoipa::path(post, path = "", responses(ReportLines))]
pub async fn import(caller: Caller<ManageDirectory>, lines: Lines, app: Data<App>) -> Result<HttpResponse, Problem> {
    if lines.media_type != NDJSON {
        return Err(Problem::media_type_of_lines());
    }
    let answer = answer(app, Import::begin(&caller.identity), lines.payload);
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type(NDJSON).streaming(answer))
}

/// An import that is told of while it runs.
struct Running {
    app: Data<App>,
    import: Import,
    payload: Payload,
    told_at: Instant,
}

/// Where an import is.
enum Step {
    Runs(Box<Running>),
    Over,
}

fn answer(app: Data<App>, import: Import, payload: Payload) -> impl Stream<Item = Result<Bytes, serde_json::Error>> {
    let running = Running { app, import, payload, told_at: Instant::now() };
    let lines: LocalBoxStream<'static, _> = stream::unfold(Step::Runs(Box::new(running)), |step| async {
        match step {
            Step::Runs(running) => Some(running.next_line().await),
            Step::Over => None,
        }
    })
    .boxed_local();
    lines
}

impl Running {
    /// Goes on until there is something to tell.
    async fn next_line(mut self: Box<Self>) -> (Result<Bytes, serde_json::Error>, Step) {
        let ended = loop {
            match self.go_on().await {
                Ok(true) if self.told_at.elapsed() >= TELL_EVERY => {
                    self.told_at = Instant::now();
                    let line = written(&Line::Progress { progress: self.import.counts() });
                    return (line, Step::Runs(self));
                }
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(problem) => break Err(problem),
            }
        };
        let line = match ended {
            Ok(()) => written(&Line::Report { report: &self.import.into_report() }),
            Err(error) => written(&Line::Broken { error: &error, progress: self.import.counts() }),
        };
        (line, Step::Over)
    }

    /// Takes the next piece of the body; `false` when there was none left, and all is in.
    async fn go_on(&mut self) -> Result<bool, Problem> {
        match timeout(PATIENCE, self.payload.next()).await {
            Err(_) => Err(Problem::stalled()),
            Ok(Some(Ok(bytes))) => {
                self.import.feed(&self.app, &bytes).await?;
                Ok(true)
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "a body broke off");
                Err(BodyError::Broken.into())
            }
            Ok(None) => {
                self.import.end(&self.app).await?;
                Ok(false)
            }
        }
    }
}

fn written(line: &Line<'_>) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text.into())
}
