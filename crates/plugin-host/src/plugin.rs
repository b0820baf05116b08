//! A loaded plugin, called with batches.

use crate::bindings::promotion as raw_promotion;
use crate::bindings::validation::{self as raw, SettingsFault, ValidateError};
use crate::columns::{Buffers, Calls, Tables};
use crate::description::{Description, Interest, described, interest};
use crate::guest::{Bounds, Guest, Usage, line};
use crate::remote::RemoteGuest;
use crate::{LoadError, PluginError, answer, limits, promotion};
use eaves_model::batch::{Batch, Decision};
use eaves_model::promotion::{PromotionDecision, Statistics};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A plugin that is ready to be called, from several threads at once if need be.
pub struct Plugin {
    shared: Arc<Shared>,
    /// Most memory of a call, in bytes, if that is less than the host gives.
    memory_bytes: usize,
}

/// What it is, whoever calls it.
struct Shared {
    guest: Backend,
    digest: String,
    description: Description,
    /// What it wants to see, by the settings it was asked about.
    configured: Mutex<HashMap<Box<str>, Arc<Interest>>>,
    /// Columns of an earlier batch, to be used again.
    spare: Mutex<Option<Buffers>>,
}

/// Where a plugin runs.
pub(crate) enum Backend {
    Here(Guest),
    Away(RemoteGuest),
}

type Called<T> = (Result<T, PluginError>, Usage);

impl Backend {
    fn promotes(&self) -> bool {
        match self {
            Self::Here(guest) => guest.promotes(),
            Self::Away(guest) => guest.promotes(),
        }
    }

    fn describe(&self, bounds: Bounds) -> Called<raw::Description> {
        match self {
            Self::Here(guest) => guest.describe(bounds),
            Self::Away(guest) => guest.describe(bounds),
        }
    }

    fn configure(&self, settings: &str, bounds: Bounds) -> Called<Result<raw::Interest, SettingsFault>> {
        match self {
            Self::Here(guest) => guest.configure(settings, bounds),
            Self::Away(guest) => guest.configure(settings, bounds),
        }
    }

    fn validate(
        &self,
        batch: raw::Batch<'_>,
        settings: &str,
        bounds: Bounds,
    ) -> Called<Result<raw::Decision, ValidateError>> {
        match self {
            Self::Here(guest) => guest.validate(batch, settings, bounds),
            Self::Away(guest) => guest.validate(batch, settings, bounds),
        }
    }

    fn promote(
        &self,
        statistics: raw_promotion::Statistics<'_>,
        settings: &str,
        bounds: Bounds,
    ) -> Called<Result<raw_promotion::Decision, String>> {
        match self {
            Self::Here(guest) => guest.promote(statistics, settings, bounds),
            Self::Away(guest) => guest.promote(statistics, settings, bounds),
        }
    }
}

/// What calls took, added up. Failed calls count too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallStats {
    /// Calls of an instance.
    pub calls: u64,
    /// Values that the plugin was given. Those it does not want to see are not among them.
    pub values: u64,
    /// Time from instantiating to the end of the instance, columns copied in and out, the way
    /// to the process that runs it and back included.
    pub duration: Duration,
    /// The most linear memory that one instance had, in bytes.
    pub memory_peak_bytes: u64,
}

impl CallStats {
    fn add(&mut self, values: usize, usage: Usage) {
        self.calls += 1;
        self.values += values as u64;
        self.duration += usage.duration;
        self.memory_peak_bytes = self.memory_peak_bytes.max(usage.memory_peak as u64);
    }
}

impl Plugin {
    pub(crate) fn start(guest: Backend, digest: String, deadline: Duration) -> Result<Self, LoadError> {
        let memory_bytes = usize::MAX;
        let (said, _) = guest.describe(Bounds { left: deadline, limit: deadline, memory_bytes });
        let description = said.and_then(|said| Ok(described(said)?)).map_err(LoadError::Describe)?;
        let (configured, spare) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { guest, digest, description, configured, spare });
        Ok(Self { shared, memory_bytes })
    }

    /// The same plugin for a caller whose calls may take at most so many bytes of memory each, and
    /// never more than the host gives. It is loaded once, however many such handles there are.
    #[must_use]
    pub fn within(&self, memory_bytes: u64) -> Self {
        let memory_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        Self { shared: self.shared.clone(), memory_bytes }
    }

    /// How many handles of it there are: 1 if this is the only one.
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.shared)
    }

    fn bounds(&self, left: Duration, limit: Duration) -> Bounds {
        Bounds { left, limit, memory_bytes: self.memory_bytes }
    }

    /// What it says of itself.
    pub fn describe(&self) -> &Description {
        &self.shared.description
    }

    /// SHA-256 of the component, in hex.
    pub fn digest(&self) -> &str {
        &self.shared.digest
    }

    /// Whether it decides which attributes are hot.
    pub fn promotes(&self) -> bool {
        self.shared.guest.promotes()
    }

    /// Checks settings, a JSON object, and says what the plugin with these settings wants to
    /// see. The plugin is asked once for each settings.
    pub fn configure(&self, settings: &str, deadline: Duration) -> Result<Arc<Interest>, PluginError> {
        self.configured(settings, self.bounds(deadline, deadline), &mut CallStats::default())
    }

    /// Judges a batch, within `deadline`. `settings` is a JSON object.
    ///
    /// Rows of attributes and entities that the plugin does not want to see are accepted
    /// without asking it. A large batch is judged in several calls, cut between readings.
    pub fn validate(
        &self,
        batch: &Batch,
        settings: &str,
        deadline: Duration,
    ) -> Result<Decision, PluginError> {
        self.validate_counting(batch, settings, deadline, &mut CallStats::default())
    }

    /// The same, and adds what it took to `stats`, whatever came of it.
    pub fn validate_counting(
        &self,
        batch: &Batch,
        settings: &str,
        deadline: Duration,
        stats: &mut CallStats,
    ) -> Result<Decision, PluginError> {
        let end = Instant::now() + deadline;
        let bounds = || self.bounds(end.saturating_duration_since(Instant::now()), deadline);
        let interest = self.configured(settings, bounds(), stats)?;
        let tables = Tables::of(batch);
        let mut decision = Decision::default();
        let spare = || self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut calls = Calls::new(batch, &interest, spare().take().unwrap_or_default())?;
        while let Some(call) = calls.next(&decision)? {
            let (said, usage) = self.shared.guest.validate(call.columns(&tables), settings, bounds());
            stats.add(call.rows(), usage);
            answer::decode(said?.map_err(told)?, &call, &mut decision)?;
            calls.recycle(call);
        }
        *spare() = Some(calls.into_spare()).filter(Buffers::is_modest);
        Ok(decision)
    }

    /// Decides which attributes are hot, within `deadline`. Attributes that the answer does not
    /// name keep their place. [`PluginError::NoPromotion`] if the plugin leaves that to others.
    pub fn promote(
        &self,
        statistics: &Statistics,
        settings: &str,
        deadline: Duration,
    ) -> Result<Vec<PromotionDecision>, PluginError> {
        if !self.promotes() {
            return Err(PluginError::NoPromotion);
        }
        let end = Instant::now() + deadline;
        self.configure(settings, deadline)?;
        let columns = promotion::Columns::of(statistics);
        let bounds = self.bounds(end.saturating_duration_since(Instant::now()), deadline);
        let (said, _) = self.shared.guest.promote(columns.lend(), settings, bounds);
        promotion::decode(said?.map_err(failed)?, statistics.attributes.len())
    }

    fn configured(
        &self,
        settings: &str,
        bounds: Bounds,
        stats: &mut CallStats,
    ) -> Result<Arc<Interest>, PluginError> {
        let known = || self.shared.configured.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interest) = known().get(settings) {
            return Ok(interest.clone());
        }
        let (said, usage) = self.shared.guest.configure(settings, bounds);
        stats.add(0, usage);
        let said = said?.map_err(settings_error)?;
        let interest = Arc::new(interest(said, Some(&self.shared.description.interest))?);
        let mut known = known();
        // A tenant has one or two settings of a plugin in use: more are a backtest's.
        if known.len() >= limits::MAX_SETTINGS_REMEMBERED {
            known.clear();
        }
        known.insert(settings.into(), interest.clone());
        Ok(interest)
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("digest", &self.shared.digest)
            .field("description", &self.shared.description)
            .finish_non_exhaustive()
    }
}

/// What is wrong with its settings, as the plugin says.
pub(crate) fn settings_error(fault: SettingsFault) -> PluginError {
    PluginError::Settings { path: line(&fault.path), message: line(&fault.message) }
}

/// Why it did not judge a batch, as it says.
pub(crate) fn told(error: ValidateError) -> PluginError {
    match error {
        ValidateError::Settings(fault) => settings_error(fault),
        ValidateError::Failed(why) => failed(why),
    }
}

/// Why it did not decide, as it says.
pub(crate) fn failed(why: String) -> PluginError {
    PluginError::Failed(line(&why))
}
