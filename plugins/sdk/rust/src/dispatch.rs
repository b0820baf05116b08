//! From the exported functions to the author's and back.

use crate::bindings::{self, Batch, Decision, ValidateError};
use crate::columns::{Answer, Columns};
use crate::previous::Tracker;
use crate::{Interest, Reading, SettingsFault, Verdict, settings};
use serde::de::DeserializeOwned;

pub(crate) use crate::columns::one_line;

/// Reads and checks the settings. Called by `export_plugin!`.
pub fn configure<S: DeserializeOwned>(
    settings: &str,
    check: impl Fn(&S) -> Result<(), SettingsFault>,
    interest: impl Fn(&S) -> Interest,
) -> Result<bindings::Interest, bindings::SettingsFault> {
    let read = settings::read(settings).and_then(|s| check(&s).map(|()| interest(&s)));
    read.map(Into::into).map_err(raw_fault)
}

/// Reads the settings and asks `judge` about every row. Called by `export_plugin!`.
pub fn validate<S: DeserializeOwned>(
    batch: &Batch,
    settings: &str,
    interest: impl Fn(&S) -> Interest,
    judge: impl for<'a> Fn(&Reading<'a>, &S) -> Verdict,
) -> Result<Decision, ValidateError> {
    // `configure` has checked them.
    let settings: S = settings::read(settings).map_err(|f| ValidateError::Settings(raw_fault(f)))?;
    let columns = Columns::new(batch);
    let previous = interest(&settings).previous;
    let mut tracker = Tracker::new(&columns, |name| previous.iter().any(|p| p == name));
    let mut answer = Answer::new();
    judge_all(&columns, &mut tracker, |row, reading| {
        let verdict = judge(reading, &settings);
        if let Some(more) = verdict.more.as_deref() {
            answer.add(row as u32, columns.attribute(row).value_type, more).map_err(ValidateError::Failed)?;
        }
        Ok(verdict)
    })?;
    Ok(answer.finish())
}

/// Asks about every row, in order, and keeps track of what was decided.
pub(crate) fn judge_all<'a, E>(
    columns: &'a Columns<'a>,
    tracker: &mut Tracker<'a>,
    mut judge: impl FnMut(usize, &Reading<'a>) -> Result<Verdict, E>,
) -> Result<(), E> {
    let mut rows = 0..0;
    for row in 0..columns.len() {
        if row == rows.end {
            rows = row..columns.reading_end(row);
        }
        let previous = tracker.before(columns, row);
        let verdict = judge(row, &Reading::new(columns, row, rows.clone(), previous))?;
        tracker.after(columns, row, verdict.more.as_deref());
    }
    Ok(())
}

fn raw_fault(fault: SettingsFault) -> bindings::SettingsFault {
    bindings::SettingsFault { path: fault.path, message: fault.message }
}
