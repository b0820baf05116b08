//! From the exported function to the author's and back.

use crate::bindings::{self, Batch, Decision, ValidateError};
use crate::columns::{Answer, Columns};
use crate::{Reading, SettingsFault, Verdict, settings};
use serde::de::DeserializeOwned;

/// Reads the settings and asks `judge` about every row. Called by `export_plugin!`.
pub fn validate<S: DeserializeOwned>(
    batch: &Batch,
    settings: &str,
    check: impl Fn(&S) -> Result<(), SettingsFault>,
    judge: impl for<'a> Fn(&Reading<'a>, &S) -> Verdict,
) -> Result<Decision, ValidateError> {
    let settings: S = settings::read(settings).and_then(|s| check(&s).map(|()| s)).map_err(settings_error)?;
    let columns = Columns::new(batch);
    let mut answer = Answer::new();
    let mut rows = 0..0;
    for row in 0..columns.len() {
        if row == rows.end {
            rows = row..columns.reading_end(row);
        }
        let verdict = judge(&Reading::new(&columns, row, rows.clone()), &settings);
        if let Some(more) = verdict.more {
            let value_type = columns.attribute(row).value_type;
            answer.add(row as u32, value_type, *more).map_err(ValidateError::Failed)?;
        }
    }
    Ok(answer.finish())
}

fn settings_error(fault: SettingsFault) -> ValidateError {
    ValidateError::Settings(bindings::SettingsFault { path: fault.path, message: fault.message })
}
