//! Values that arrive too late, or are dated too far ahead.

use crate::work::{Account, Origin};
use eaves_model::point::{Breach, LimitAction};
use eaves_model::tenant::Tenant;
use eaves_model::{Code, Reading, Rejection, WireValue};

/// The values of a reading that are put aside together: one entry in quarantine that can
/// be sent again as it is.
#[derive(Default)]
pub(crate) struct Aside {
    values: Vec<(Box<str>, WireValue)>,
    /// About the first of them.
    why: Option<Rejection>,
}

impl Aside {
    /// Does with a value what the limit it breaks says.
    pub(crate) fn put(
        &mut self,
        breach: Breach,
        tenant: &Tenant,
        origin: Origin<'_>,
        reading: &Reading,
        value: (Box<str>, WireValue),
        account: &mut Account,
    ) {
        let why = || {
            let code = if breach.late { Code::TOO_LATE } else { Code::TOO_FAR_AHEAD };
            let text = breach.text(reading.observed_at, origin.arrived, &value.0);
            Rejection::new(code, "observed_at", text)
        };
        if breach.limit.action == LimitAction::Reject {
            let why = why();
            let payload = part(reading, vec![value]);
            account.reject(tenant.id, origin, why, crate::ingest::payload(&payload), None);
            return;
        }
        if self.why.is_none() {
            self.why = Some(why());
        }
        self.values.push(value);
    }

    /// Puts the values aside, if there are any.
    pub(crate) fn finish(self, tenant: &Tenant, origin: Origin<'_>, reading: Reading, account: &mut Account) {
        let Some(mut why) = self.why else { return };
        let others = self.values.len() - 1;
        if others > 0 {
            why.message.push_str(&format!("; so are {others} more of the reading"));
        }
        let payload = part(&reading, self.values);
        account.quarantine(Some(tenant.id), origin, why, crate::ingest::payload(&payload), None);
    }
}

/// The reading with these values only.
fn part(reading: &Reading, values: Vec<(Box<str>, WireValue)>) -> Reading {
    Reading {
        tenant: reading.tenant.clone(),
        entity: reading.entity.clone(),
        entity_type: reading.entity_type.clone(),
        observed_at: reading.observed_at,
        values,
        refused: Vec::new(),
    }
}
