//! Values that arrive too late, or are dated too far ahead.

use crate::work::{Account, Origin, Refusal};
use eaves_codec::encode;
use eaves_model::point::{Breach, LimitAction};
use eaves_model::tenant::Tenant;
use eaves_model::{Code, Reading, Rejection, Timestamp, WireValue};

/// The values of a reading that are put aside together: one entry in quarantine that can
/// be sent again as it is.
#[derive(Default)]
pub(crate) struct Aside {
    members: Vec<String>,
    /// About the first of them, and its place in the reading.
    why: Option<(Rejection, u32)>,
}

impl Aside {
    /// Does with a value what the limit it breaks says; answers with the reason if that is
    /// to refuse it.
    pub(crate) fn put(
        &mut self,
        breach: &Breach,
        reading: &Reading,
        arrived: Timestamp,
        place: usize,
        name: &str,
        wire: &WireValue,
    ) -> Option<Rejection> {
        let why = || {
            let code = if breach.late { Code::TOO_LATE } else { Code::TOO_FAR_AHEAD };
            Rejection::new(code, "observed_at", breach.text(reading.observed_at, arrived, name))
        };
        if breach.limit.action == LimitAction::Reject {
            return Some(why());
        }
        if self.why.is_none() {
            self.why = Some((why(), u32::try_from(place).unwrap_or(u32::MAX)));
        }
        self.members.push(encode::member(name, wire));
        None
    }

    /// Puts the values aside, if there are any.
    pub(crate) fn finish(
        self,
        tenant: &Tenant,
        origin: Origin<'_>,
        reading: &Reading,
        account: &mut Account,
    ) {
        let Some((mut why, place)) = self.why else { return };
        let pieces = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        if pieces > 1 {
            why.message.push_str(&format!("; so are {} more of the reading", pieces - 1));
        }
        let payload = encode::with_members(reading, &self.members).into_bytes();
        let refusal = Refusal { why, payload, digest: None };
        account.quarantine((Some(tenant.id), None), origin.piece(place), refusal, pieces);
    }
}
