//! A backtest step by step.

use super::assemble::{self, Assembled, Named};
use super::before::Before;
use super::compare::{From, Judge, compare};
use super::pages::{PageSize, Pages};
use super::refusals::{Aside, Refusals, Refused};
use super::report::{Report, Side};
use super::{HOLD, LEASE, NO_PLACE, Request, leave};
use crate::context::Context;
use eaves_model::{EntityId, TenantId, Timestamp};
use eaves_registry::{Activation, Compiled, Job};
use eaves_store::read::{AttributeInfoRow, ReadError, Reader, StoredRefusal};
use eaves_telemetry::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How often progress is written, and a cancellation seen.
const SAVE: Duration = Duration::from_secs(1);
/// How long one may work: it keeps a place from others all the while.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// Rows of quarantine at once, unless they are large.
const REFUSALS: u32 = 1000;
/// How far a device's clock may be ahead: a reading may have been refused so long before its time.
const AHEAD: i64 = 3600 * 1_000_000;
/// Most entities whose names are remembered.
const NAMES: usize = 500_000;

/// Where a backtest goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Resume {
    pages: Pages,
    history_done: bool,
    /// The last row of quarantine.
    after: i64,
}

/// Why one that has worked for so long ends now, if it does.
fn over_long(took_ms: u64) -> Option<String> {
    (Duration::from_millis(took_ms) > LONGEST).then(|| {
        format!(
            "it has worked for {} hours, which is the longest: ask for a shorter time, or for more values a second (rate)",
            LONGEST.as_secs() / 3600
        )
    })
}

/// A backtest at work.
pub(super) struct Runner<'a> {
    context: &'a Context,
    tenant: TenantId,
    reader: &'a Reader,
    job: Job,
    request: Request,
    resume: Resume,
    report: Report,
    candidate: Judge,
    active: Option<Judge>,
    attributes: Vec<AttributeInfoRow>,
    names: HashMap<EntityId, Named>,
    before: Before,
    /// What was refused, once it is needed.
    aside: Option<Aside>,
    /// Rows of quarantine at once.
    refusals: u32,
    /// When it last said that it is there.
    held: Instant,
}

type Failed = (Job, String);

impl<'a> Runner<'a> {
    /// From the job's row: from the beginning, or from where it stopped.
    pub(super) async fn new(context: &'a Context, tenant: TenantId, job: Job) -> Result<Self, String> {
        let request: Request =
            serde_json::from_value(job.request.clone()).map_err(|e| format!("read the request: {e}"))?;
        let registry = &context.registry;
        let text = |e: eaves_registry::RegistryError| e.to_string();
        let version = registry.version(tenant, &job.name, &request.version).await.map_err(text)?;
        let version = version.ok_or_else(|| format!("{} {} is gone", job.name, request.version))?;
        let load = async |compiled: Compiled<'_>| {
            context.load_compiled(tenant, compiled).await.map_err(|problem| problem.to_string())
        };
        let plugin = load((&version).into()).await?;
        let fresh = job.report.is_null();
        let mut report: Report = serde_json::from_value(job.report.clone()).unwrap_or_default();
        let now: Option<Activation> = registry.active(tenant).await.map_err(text)?;
        if fresh {
            report.candidate.version.clone_from(&version.version);
            report.candidate.digest.clone_from(&version.digest);
            let policy = registry.policy(tenant).await.map_err(text)?;
            (report.limits.ms_per_1000, report.limits.memory_bytes) =
                (policy.ms_per_1000, policy.memory_bytes);
            report.active = now.as_ref().map(|a| Side {
                version: a.version.clone(),
                digest: a.digest.clone(),
                settings_digest: a.settings_digest.clone(),
                ..Side::default()
            });
        }
        // What was active when it began is what it is compared with to the end.
        let same = |a: &Activation, side: &Side| {
            a.digest == side.digest && a.settings_digest == side.settings_digest
        };
        let active = match (&report.active, now) {
            (None, _) => None,
            (Some(side), Some(a)) if same(&a, side) => {
                let plugin = load((&a).into()).await?;
                let times = times(side);
                Some(Judge { plugin, settings: a.settings, times })
            }
            _ => return Err("another version became active while the backtest ran: ask for it again".into()),
        };
        let settings = request.settings.clone();
        let candidate = Judge { plugin, settings, times: times(&report.candidate) };
        let reader = context.replica.as_ref().unwrap_or(&context.primary);
        let attributes = reader.all_attributes(tenant).await.map_err(|e| e.to_string())?;
        let start = Resume { pages: Pages::new(request.from), history_done: false, after: 0 };
        let resume = serde_json::from_value(job.resume.clone()).unwrap_or(start);
        let names = HashMap::new();
        let before = Before::new(&[Some(&candidate), active.as_ref()], &attributes);
        Ok(Self {
            context,
            tenant,
            reader,
            job,
            request,
            resume,
            report,
            candidate,
            active,
            attributes,
            names,
            before,
            aside: None,
            refusals: REFUSALS,
            held: Instant::now(),
        })
    }

    /// Works until it is done, cancelled, or `time` is over: then the job is still `running`.
    pub(super) async fn run(mut self, time: Duration) -> Result<Job, Failed> {
        let (began, before) = (Instant::now(), self.report.took_ms);
        let mut saved = Instant::now();
        let mut worked = 0u64;
        loop {
            let step = match self.step().await {
                Ok(step) => step,
                Err(e) => return Err((self.job, e)),
            };
            self.report.took_ms = before + began.elapsed().as_millis() as u64;
            if let Some(why) = over_long(self.report.took_ms).filter(|_| step.is_some()) {
                return Err((self.job, why));
            }
            let over = began.elapsed() >= time;
            if step.is_none() || over || saved.elapsed() >= SAVE {
                if step.is_none() {
                    self.job.state = "done".into();
                }
                match self.save().await {
                    Ok(true) => {}
                    Ok(false) => {
                        self.job.state = "cancelled".into();
                        return Ok(self.job);
                    }
                    Err(e) => return Err((self.job, e)),
                }
                saved = Instant::now();
            }
            let Some(values) = step else { return Ok(self.job) };
            if over {
                return Ok(self.job);
            }
            worked += values;
            let due = Duration::from_secs_f64(worked as f64 / f64::from(self.request.rate.max(1)));
            // In short naps, so that a cancellation is seen.
            while let Some(early) = due.checked_sub(began.elapsed()).filter(|d| !d.is_zero()) {
                tokio::time::sleep(early.min(SAVE)).await;
                self.report.took_ms = before + began.elapsed().as_millis() as u64;
                if saved.elapsed() >= SAVE {
                    saved = Instant::now();
                    match self.save().await {
                        Ok(true) if began.elapsed() < time => {}
                        Ok(true) => return Ok(self.job),
                        Ok(false) => {
                            self.job.state = "cancelled".into();
                            return Ok(self.job);
                        }
                        Err(e) => return Err((self.job, e)),
                    }
                }
            }
        }
    }

    /// One page. How many values it had; `None` at the end.
    async fn step(&mut self) -> Result<Option<u64>, String> {
        if !self.resume.history_done {
            return match self.resume.pages.stretch(self.request.to) {
                Some(stretch) => self.history(stretch).await.map(Some).map_err(|e| e.to_string()),
                None => {
                    self.resume.history_done = true;
                    Ok(Some(0))
                }
            };
        }
        self.quarantine().await.map_err(|e| e.to_string())
    }

    async fn history(&mut self, stretch: (Timestamp, Timestamp)) -> Result<u64, ReadError> {
        let size = PageSize::for_rate(self.request.rate);
        let values = self.reader.stored_values(self.tenant, &self.attributes, stretch, size.most()).await;
        let values = match values {
            // Long texts: as if it had too many values.
            Err(e @ ReadError::TooLarge(_)) => {
                let shortest = self.resume.pages.read(stretch.1, size.most() as usize, size);
                return if shortest { Err(e) } else { Ok(0) };
            }
            done => done?,
        };
        if !self.resume.pages.read(stretch.1, values.len(), size) || values.is_empty() {
            return Ok(0);
        }
        if self.names.len() > NAMES {
            self.names.clear();
        }
        let unknown: HashSet<EntityId> =
            values.iter().map(|v| v.entity).filter(|e| !self.names.contains_key(e)).collect();
        if !unknown.is_empty() {
            let unknown: Vec<EntityId> = unknown.into_iter().collect();
            for (id, name, kind) in self.reader.entity_names(self.tenant, &unknown).await? {
                self.names.insert(id, (name.into(), kind.into()));
            }
        }
        let read = values.len() as u64;
        let aside = match self.aside.take() {
            Some(aside) => aside,
            None => self.refused().await?,
        };
        let assembled = assemble::history(values, &self.attributes, &self.names, &aside);
        self.aside = Some(aside);
        self.judge(assembled, From::History).await?;
        Ok(read)
    }

    /// What was refused of the readings that history may have a part of.
    async fn refused(&mut self) -> Result<Aside, ReadError> {
        let (mut aside, mut after) = (Aside::default(), 0);
        let from = self.request.from.as_micros().saturating_sub(AHEAD);
        let window = (Timestamp::from_micros(from).unwrap_or(self.request.from), Timestamp::now());
        loop {
            let rows = self.stored_refusals(window, after).await?;
            let Some(last) = rows.last() else { return Ok(aside) };
            after = last.id;
            aside.keep(&rows, &self.attributes);
            if aside.is_full() {
                self.report.more_refused = true;
                return Ok(aside);
            }
        }
    }

    /// A page of quarantine; a smaller one from now on where rows are large.
    async fn stored_refusals(
        &mut self,
        window: (Timestamp, Timestamp),
        after: i64,
    ) -> Result<Vec<StoredRefusal>, ReadError> {
        loop {
            match self.reader.stored_refusals(self.tenant, window, after, self.refusals).await {
                Err(ReadError::TooLarge(_)) if self.ask_for_fewer() => {}
                done => return done,
            }
        }
    }

    /// Whether there may be fewer rows of quarantine at once.
    fn ask_for_fewer(&mut self) -> bool {
        let fewer = (self.refusals / 10).max(1);
        std::mem::replace(&mut self.refusals, fewer) > fewer
    }

    async fn quarantine(&mut self) -> Result<Option<u64>, ReadError> {
        let window = (self.request.from, self.request.to);
        let rows = self.stored_refusals(window, self.resume.after).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let mut refusals = Refusals::of(&rows, &self.attributes);
        let is_full = rows.len() >= self.refusals as usize;
        let left = if is_full { refusals.leave_last() } else { None };
        let (after, untried) = (left.unwrap_or(last.id), refusals.untried());
        let readings = refusals.readings;
        let values: usize = readings.iter().map(|r| r.values.len()).sum();
        if values > 0 {
            let registered = self.entities_of(&readings).await?;
            let (places, points): (Vec<usize>, Vec<(EntityId, Timestamp)>) = (registered.iter().enumerate())
                .filter_map(|(place, entity)| {
                    Some((place, (entity.as_ref()?.0, readings.get(place)?.observed_at)))
                })
                .unzip();
            let stored = match self.reader.values_at(self.tenant, &points).await {
                // What was taken of them is large: the same page again, with fewer.
                Err(ReadError::TooLarge(_)) if self.ask_for_fewer() => return Ok(Some(0)),
                done => done?,
            };
            let stored =
                stored.into_iter().filter_map(|(at, value)| Some((*places.get(at)?, value))).collect();
            let assembled = assemble::quarantine(readings, &self.attributes, &registered, stored);
            self.judge(assembled, From::Quarantine).await?;
        }
        self.resume.after = after;
        self.report.untried += untried;
        Ok(Some(values as u64))
    }

    /// Which entity each reading is of, and its type; none where it is not registered.
    async fn entities_of(&self, readings: &[Refused]) -> Result<Vec<Option<(EntityId, String)>>, ReadError> {
        let names: Vec<&str> = readings.iter().map(|r| &*r.entity).collect();
        let found = self.reader.entity_ids(self.tenant, &names).await?;
        let found: HashMap<String, (EntityId, String)> =
            found.into_iter().map(|(name, id, kind)| (name, (id, kind))).collect();
        Ok(names.into_iter().map(|name| found.get(name).cloned()).collect())
    }

    /// Both judge what there is, with the values before it.
    async fn judge(&mut self, mut of: Assembled, from: From) -> Result<(), ReadError> {
        let at = (&mut of.batch, &of.ids);
        match from {
            From::History => self.before.in_history(self.reader, self.tenant, at).await?,
            From::Quarantine => self.before.in_quarantine(self.reader, self.tenant, at).await?,
        }
        let hot: HashSet<&str> =
            self.attributes.iter().filter(|a| a.is_hot).map(|a| a.name.as_str()).collect();
        let examples = self.request.examples as usize;
        let both = (self.active.as_mut(), &mut self.candidate);
        compare(&mut self.report, both, &of, &hot, (from, examples));
        Ok(())
    }

    async fn save(&mut self) -> Result<bool, String> {
        self.report.conclude();
        let (from, to) = (self.request.from.as_micros(), self.request.to.as_micros());
        let through = (self.resume.pages.next - from) as f64 / (to - from).max(1) as f64;
        self.job.progress = match self.job.state.as_str() {
            "done" => 1.0,
            _ => (through.clamp(0.0, 1.0) * 0.95 * 1000.0).round() / 1000.0,
        };
        self.job.updated_at = Timestamp::now();
        let json = |e: serde_json::Error| e.to_string();
        self.job.report = serde_json::to_value(&self.report).map_err(json)?;
        self.job.resume = serde_json::to_value(self.resume).map_err(json)?;
        if self.job.is_over() {
            // Before it is told: who then asks for another one finds the place free.
            leave(self.context, self.tenant, &self.job).await;
        } else if self.held.elapsed() >= HOLD {
            self.held = Instant::now();
            let held = self.context.registry.job_hold(self.tenant, &mut self.job, LEASE).await;
            if !held.map_err(|e| e.to_string())? {
                return Err(NO_PLACE.into());
            }
        }
        self.context.registry.job_save(self.tenant, &self.job).await.map_err(|e| e.to_string())
    }
}

fn times(side: &Side) -> Histogram {
    Histogram::from_pairs(side.times.iter().map(|(k, n)| (k.as_str(), *n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ends_after_six_hours_of_work_and_is_told_what_to_ask_for() {
        assert_eq!(over_long(6 * 3_600_000), None);
        let why = over_long(6 * 3_600_000 + 1).unwrap();
        assert!(why.contains("6 hours") && why.contains("rate"), "{why}");
    }
}
