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
    judge_all(
        &columns,
        &mut tracker,
        |reading| judge(reading, &settings),
        |row, verdict| match verdict.more {
            None => Ok(()),
            Some(more) => answer.add(row as u32, columns.attribute(row).value_type, *more),
        },
    )
    .map_err(ValidateError::Failed)?;
    Ok(answer.finish())
}

/// Asks about every row, in order, keeps track of what was decided, and hands it over.
// A function of its own: a compiler of one pass has few registers for a loop inside another.
#[inline(never)]
pub(crate) fn judge_all<'a, E>(
    columns: &Columns<'a>,
    tracker: &mut Tracker<'a>,
    judge: impl Fn(&Reading<'_>) -> Verdict,
    mut take: impl FnMut(usize, Verdict) -> Result<(), E>,
) -> Result<(), E> {
    for row in 0..columns.len() {
        let previous = tracker.before(columns, row);
        let verdict = judge(&Reading::new(columns, row, previous.as_ref()));
        tracker.after(columns, row, verdict.more.as_deref());
        take(row, verdict)?;
    }
    Ok(())
}

fn raw_fault(fault: SettingsFault) -> bindings::SettingsFault {
    bindings::SettingsFault { path: fault.path, message: fault.message }
}
