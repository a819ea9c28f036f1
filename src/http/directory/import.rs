//! `POST /v1/import`: newline-delimited JSON in the request and in the response.

use std::time::Duration;

use actix_web::{
    Error, HttpRequest, HttpResponse,
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
    domain::access::policy::ManageDirectory,
    http::{
        extract::{Caller, body, body::BodyError},
        openapi::{
            documents::ImportBody,
            responses::ReportLines,
            signature::{HandlerArgument, HandlerSignature, body},
        },
        problem::{self, Problem},
    },
    service::{
        Services,
        directory::import::{Import, Report, report::RowCounts},
    },
};

/// Maximum time without a new part of the body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum time between two progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

const NDJSON: &str = "application/x-ndjson";

/// A body of lines, which the handler reads while it responds.
pub struct Lines(Payload);

/// A line of the response.
#[derive(Serialize)]
#[serde(untagged)]
enum ResponseLine<'a> {
    Progress {
        progress: RowCounts,
    },
    Report {
        report: &'a Report,
    },
    /// The error that ended the import, with the counts of rows that are committed.
    Broken {
        error: &'a problem::ProblemBody,
        progress: RowCounts,
    },
}

/// Imports organizations, users and members in bulk.
///
/// Each line has the effect of its PUT request: it replaces the whole object, and repeating it
/// changes nothing. An invalid line is refused without affecting other lines, and the report states
/// the reason.
#[utoipa::path(post, path = "", responses(ReportLines))]
pub async fn import(caller: Caller<ManageDirectory>, Lines(payload): Lines) -> Result<HttpResponse, Problem> {
    let lines = stream_response(caller.services.clone(), Import::begin(&caller), payload);
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type(NDJSON).streaming(lines))
}

/// An import in progress.
struct RunningImport {
    services: Data<Services>,
    import: Import,
    payload: Payload,
    reported_at: Instant,
}

/// The state of an import.
enum ImportState {
    Running(Box<RunningImport>),
    Finished,
}

fn stream_response(
    services: Data<Services>,
    import: Import,
    payload: Payload,
) -> impl Stream<Item = Result<Bytes, serde_json::Error>> {
    let running = RunningImport { services, import, payload, reported_at: Instant::now() };
    let lines: LocalBoxStream<'static, _> = stream::unfold(ImportState::Running(Box::new(running)), |step| async {
        match step {
            ImportState::Running(running) => Some(running.next_line().await),
            ImportState::Finished => None,
        }
    })
    .boxed_local();
    lines
}

impl RunningImport {
    /// Continues the import until there is a line to write.
    async fn next_line(mut self: Box<Self>) -> (Result<Bytes, serde_json::Error>, ImportState) {
        let ended = loop {
            match self.process_chunk().await {
                Ok(true) if self.reported_at.elapsed() >= PROGRESS_INTERVAL => {
                    self.reported_at = Instant::now();
                    let line = serialize_line(&ResponseLine::Progress { progress: self.import.counts() });
                    return (line, ImportState::Running(self));
                }
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(problem) => break Err(problem),
            }
        };
        let line = match ended {
            Ok(()) => serialize_line(&ResponseLine::Report { report: &self.import.into_report() }),
            Err(error) => serialize_line(&ResponseLine::Broken { error: &error.body, progress: self.import.counts() }),
        };
        (line, ImportState::Finished)
    }

    /// Processes the next part of the body. Returns `false` at its end, when all rows are
    /// committed.
    async fn process_chunk(&mut self) -> Result<bool, Problem> {
        match timeout(READ_TIMEOUT, self.payload.next()).await {
            Err(_) => Err(Problem::body_timeout("nothing of the body arrived for 30 seconds")),
            Ok(Some(Ok(bytes))) => {
                self.import.feed(&self.services, &bytes).await?;
                Ok(true)
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "failed to read a body");
                Err(BodyError::Broken.into())
            }
            Ok(None) => {
                self.import.end(&self.services).await?;
                Ok(false)
            }
        }
    }
}

fn serialize_line(line: &ResponseLine<'_>) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text.into())
}

impl HandlerArgument for Lines {
    const READS_BODY: bool = true;
    fn describe(signature: &mut HandlerSignature) {
        signature.body = Some(body::<ImportBody>(NDJSON, true));
    }
    async fn extract(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        if body::has_media_type(request, NDJSON) {
            Ok(Self(payload.take()))
        } else {
            Err(Problem::unsupported_media_type(
                "The body is not lines of JSON",
                "send a JSON object on each line, with Content-Type: application/x-ndjson",
            )
            .into())
        }
    }
}
