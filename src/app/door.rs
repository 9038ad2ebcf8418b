//! Owns what the front door asks of the floors below, and whom it lets see what. It must never answer for them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;

use crate::base::metrics::{Place, TextFormat};
use crate::domain::access::Viewer;
use crate::domain::health::HealthStatus;
use crate::domain::id::AttemptId;
use crate::domain::log::LogStream;
use crate::domain::resume::Course;
use crate::engine::logs::Download;
use crate::engine::tokens::digest;
use crate::engine::{Engine, metrics as engine_metrics, watchdog};
use crate::graphql::{self, ApiSchema};
use crate::store::{Fault, Reader};
use crate::web::{self, Backend, LogRefusal, LogText, Unsure};

/// What the door asks of the floors below.
#[derive(Clone)]
pub(super) struct Door {
    schema: ApiSchema,
    judge: ApiSchema,
    engine: Engine,
    sdl: Arc<str>,
}

impl Door {
    pub(super) fn new(engine: &Engine) -> Door {
        let (schema, judge) = (graphql::schema(engine.clone()), graphql::judge());
        let sdl = graphql::sdl_of(&judge).into();
        Door { schema, judge, engine: engine.clone(), sdl }
    }

    fn reader(&self) -> &Reader {
        &self.engine.reader
    }
}

impl Backend for Door {
    type Executor = ApiSchema;
    type Viewer = Viewer;

    fn executor(&self) -> &ApiSchema {
        &self.schema
    }

    fn judge(&self) -> &ApiSchema {
        &self.judge
    }

    fn authenticate(&self, token: &str) -> impl Future<Output = Result<Option<Viewer>, Unsure>> + Send {
        let digest = digest(token);
        async move {
            self.engine.recognise(&digest).await.map_err(|fault| {
                tracing::error!("a token could not be looked up: {fault}");
                Unsure
            })
        }
    }

    fn note_use(&self, viewer: &Viewer) {
        self.engine.note_token_use(viewer.token_id);
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.engine.tokens.revocations()
    }

    fn valid_for(&self, viewer: &Viewer) -> Option<Duration> {
        viewer.expires_at.map(|end| end.since(self.engine.clock.now()))
    }

    fn token_key(&self, viewer: &Viewer) -> i64 {
        viewer.token_id.0
    }

    fn token_name<'a>(&self, viewer: &'a Viewer) -> &'a str {
        &viewer.token_name
    }

    fn permit(&self, viewer: &Viewer, asked: &web::Asked<'_>) -> Result<(), String> {
        let web::Asked { document, operation_name, root_fields, .. } = *asked;
        graphql::access::permit(viewer, &graphql::access::Asked { document, operation_name, root_fields })
    }

    fn course(&self, viewer: &Viewer, sent: &web::Sent<'_>) -> Option<Course<Viewer>> {
        let web::Asked { document, operation_name, root_fields, .. } = *sent.asked;
        let asked = graphql::access::Asked { document, operation_name, root_fields };
        let web::Sent { text, variables, resume, .. } = *sent;
        graphql::topics::course(
            &self.engine,
            viewer,
            &graphql::topics::Sent { text, asked, variables, resume },
        )
    }

    fn place(&self, seen: i64) -> Place {
        self.engine.metrics.subscriber(seen)
    }

    fn ready(&self) -> Result<(), String> {
        if self.engine.shutdown.is_begun() {
            return Err("the daemon is stopping".to_owned());
        }
        for part in ["store", "scheduler", "dispatcher"] {
            match self.engine.health.status(part) {
                Some(HealthStatus::Ok) => {}
                Some(status) => return Err(format!("{part} is {}", status.word())),
                None => return Err(format!("{part} has not begun")),
            }
        }
        watchdog::standstill(&self.engine).map_or(Ok(()), Err)
    }

    fn tell_shortage(&self, shortage: Option<&str>) {
        let (health, now) = (&self.engine.health, self.engine.clock.now());
        if let Some(lack) = shortage {
            tracing::warn!(part = "descriptors", "{lack}: connections wait until some are free");
            health.set("descriptors", HealthStatus::Degraded, Some(lack.to_owned()), now);
        } else {
            tracing::info!(part = "descriptors", "connections are accepted again");
            health.set("descriptors", HealthStatus::Ok, None, now);
        }
    }

    async fn log(
        &self,
        viewer: &Viewer,
        attempt: AttemptId,
        only: Option<LogStream>,
    ) -> Result<LogText, LogRefusal> {
        let failed = |fault: Fault| LogRefusal::Failed(fault.to_string());
        graphql::access::permit_roots(viewer, &["jobLog"]).map_err(LogRefusal::Forbidden)?;
        let attempt = self.reader().attempt(attempt).await.map_err(failed)?.ok_or(LogRefusal::NotFound)?;
        let job = self.reader().job(attempt.job_id).await.map_err(failed)?;
        if !job.is_some_and(|job| viewer.sees(&job)) {
            return Err(LogRefusal::NotFound);
        }
        match self.engine.download(attempt.id, only).await.map_err(failed)? {
            Download::Forgotten => Err(LogRefusal::Forgotten),
            Download::Text(parts) => Ok(LogText {
                file_name: format!("{}-attempt_{}.log", attempt.job_id, attempt.number),
                parts: parts.map_err(|fault| fault.to_string()).boxed(),
            }),
        }
    }

    async fn metrics(
        &self,
        viewer: &Viewer,
        door: web::DoorNumbers,
        format: TextFormat,
    ) -> Result<String, String> {
        graphql::access::permit_metrics(viewer)?;
        let web::DoorNumbers { connection_count, connections_max, subscription_count, topic_count } = door;
        let door = engine_metrics::DoorNumbers {
            connection_count,
            connections_max,
            subscription_count,
            topic_count,
        };
        Ok(self.engine.metrics_text(door, format).await)
    }

    fn schema_sdl(&self) -> Arc<str> {
        self.sdl.clone()
    }
}
