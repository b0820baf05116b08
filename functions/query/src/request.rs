//! What holds for every request: it is let in or told to come back, its reads share a time, and
//! its answer says how long each part took.

use crate::context::Context;
use crate::params::{Params, staleness};
use crate::problem::Problem;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderValue, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use eaves_freshness::Demand;
use eaves_model::Timestamp;
use eaves_store::read::Allowance;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Requests that an instance works on at a time. Lambda gives it one; beyond this, in a process
/// that takes many, the next would only wait for a connection until its time is used up.
pub(crate) const MOST_AT_ONCE: usize = 128;
/// The time that the reads of a request share, whichever sources are tried.
const TIME: Duration = Duration::from_secs(10);
/// The same for analytics.
const ANALYTICS_TIME: Duration = Duration::from_secs(25);
/// When a request is given up whatever it does. API Gateway gives up after 30 s.
const LONGEST: Duration = Duration::from_secs(28);

tokio::task_local! {
    static CLOCK: Clock;
}

/// When a request began, and how long choosing its sources took.
struct Clock {
    began: Timestamp,
    routing: Cell<Duration>,
}

/// When the request of this task began: an answer that lacks nothing older than its lag when it
/// was read lacks nothing older than that before this. `None` outside a request.
pub(crate) fn began() -> Option<Timestamp> {
    CLOCK.try_with(|clock| clock.began).ok()
}

/// Choosing a source took so long.
pub(crate) fn routed(time: Duration) {
    // Outside a request nobody asks.
    let _ = CLOCK.try_with(|clock| clock.routing.set(clock.routing.get() + time));
}

/// Lets a request in, within its time, and writes `Server-Timing`.
pub(crate) async fn bounded(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/v1/") {
        return next.run(request).await;
    }
    let response = match context.places.try_acquire() {
        Ok(_place) => within_its_time(request, next).await,
        Err(_) => {
            let detail = format!("this instance works on {MOST_AT_ONCE} requests already");
            Problem::shed(detail).into_response()
        }
    };
    context.told.answer(&response);
    context.told.write();
    response
}

/// Answers in the time that the request's reads may take, and says what they took.
async fn within_its_time(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (mut parts, body) = request.into_parts();
    let time = time(&mut parts).await;
    let request = Request::from_parts(parts, body);
    let clock = Clock { began: Timestamp::now(), routing: Cell::default() };
    let work = async {
        let done = tokio::time::timeout(LONGEST, next.run(request)).await;
        let response = done.unwrap_or_else(|_| Problem::out_of_time().into_response());
        (response, CLOCK.with(|clock| clock.routing.get()))
    };
    let ((mut response, routing), database) = Allowance::scope(time, CLOCK.scope(clock, work)).await;
    let headers = response.headers_mut();
    let source = headers.get("x-data-source").and_then(|v| v.to_str().ok());
    let timing = timing(source, routing, database, began.elapsed());
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        headers.insert("server-timing", timing);
    }
    response
}

/// How long the request's reads may take together, and how long it may wait for what its token names.
/// What it asks for wrongly is told later.
async fn time(parts: &mut Parts) -> Duration {
    let Ok(params) = Params::from_request_parts(parts, &()).await else { return TIME };
    // What is moved to the sources of analytics has their time, too.
    let analytics = params.demand().is_ok_and(|demand: Demand| demand.is_analytics())
        || params.may_move().is_ok_and(|may_move| may_move);
    let wait = params.get("wait").and_then(staleness).unwrap_or_default();
    (if analytics { ANALYTICS_TIME } else { TIME }).saturating_add(wait).min(LONGEST)
}

/// `Server-Timing`, in milliseconds.
fn timing(source: Option<&str>, routing: Duration, database: Duration, total: Duration) -> String {
    let ms = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
    let source = source.map(|s| format!("source;desc=\"{s}\", ")).unwrap_or_default();
    format!("route;dur={}, {source}db;dur={}, total;dur={}", ms(routing), ms(database), ms(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_names_the_source_where_there_is_one() {
        let ms = Duration::from_millis;
        assert_eq!(
            timing(Some("cache"), ms(1), ms(0), ms(2)),
            "route;dur=1.000, source;desc=\"cache\", db;dur=0.000, total;dur=2.000"
        );
        assert_eq!(timing(None, ms(0), ms(3), ms(4)), "route;dur=0.000, db;dur=3.000, total;dur=4.000");
    }
}
