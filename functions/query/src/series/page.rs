//! Where in several histories a page begins.

use crate::problem::Problem;
use crate::window::{Window, Windows};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_model::{AttributeId, Timestamp};
use eaves_store::read::{AttributeRow, SeriesPart};

/// A window, an order, and how far in it earlier pages came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) window: Window,
    pub(super) descending: bool,
    /// Time and attribute of the last point told.
    pub(super) last: Option<(Timestamp, AttributeId)>,
}

impl Page {
    /// What is left of each attribute: points of one time are in order of the attributes'
    /// identifiers.
    pub(super) fn parts(&self, attributes: &[AttributeRow]) -> Vec<SeriesPart> {
        let part = |attribute: &AttributeRow| {
            let Window { mut from, mut to } = self.window;
            if let Some((at, last)) = self.last {
                let told = attribute.id <= last;
                match (self.descending, told) {
                    (true, true) => to = at,
                    (true, false) => to = at.plus_micros(1),
                    (false, true) => from = at.plus_micros(1),
                    (false, false) => from = at,
                }
            }
            SeriesPart { attribute: attribute.id, value_type: attribute.value_type, from, to }
        };
        attributes.iter().map(part).collect()
    }

    pub(super) fn to_cursor(self) -> Option<String> {
        let (at, attribute) = self.last?;
        let order = if self.descending { 'd' } else { 'a' };
        let (from, to) = (self.window.from.as_micros(), self.window.to.as_micros());
        Some(URL_SAFE_NO_PAD.encode(format!("s{order} {from} {to} {} {attribute}", at.as_micros())))
    }

    pub(super) fn from_cursor(text: &str, windows: Windows) -> Result<Self, Problem> {
        let bad = || Problem::bad_parameter("cursor", "is not a cursor that such an answer gave");
        let plain = URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| String::from_utf8(b).ok());
        let plain = plain.ok_or_else(bad)?;
        let mut parts = plain.split(' ');
        let descending = match parts.next() {
            Some("sd") => true,
            Some("sa") => false,
            _ => return Err(bad()),
        };
        let mut time = || parts.next().and_then(|p| p.parse().ok()).and_then(Timestamp::from_micros);
        let (Some(from), Some(to), Some(at)) = (time(), time(), time()) else { return Err(bad()) };
        let Some(attribute) = parts.next().and_then(|p| p.parse().ok()) else { return Err(bad()) };
        let window = Window { from, to }.check(false, windows).map_err(|_| bad())?;
        Ok(Self { window, descending, last: Some((at, AttributeId(attribute))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_model::ValueType;

    #[test]
    fn a_page_goes_on_behind_the_last_point() {
        let t = |s: i64| Timestamp::from_micros(s * 1_000_000).unwrap();
        let attribute = |id: i32| AttributeRow {
            name: id.to_string(),
            id: AttributeId(id),
            value_type: ValueType::Float,
            unit: String::new(),
            is_hot: false,
        };
        let attributes = [attribute(3), attribute(1), attribute(2)];
        let window = Window { from: t(10), to: t(20) };
        let page = Page { window, descending: true, last: Some((t(15), AttributeId(2))) };
        let back = Page::from_cursor(&page.to_cursor().unwrap(), Windows::default()).unwrap();
        assert_eq!(back, page);
        let ends: Vec<_> = back.parts(&attributes).iter().map(|p| (p.attribute.0, p.from, p.to)).collect();
        let just_after = t(15).plus_micros(1);
        assert_eq!(ends, [(3, t(10), just_after), (1, t(10), t(15)), (2, t(10), t(15))]);
        let ascending = Page { descending: false, ..page };
        let starts: Vec<_> = ascending.parts(&attributes).iter().map(|p| (p.attribute.0, p.from)).collect();
        assert_eq!(starts, [(3, t(15)), (1, just_after), (2, just_after)]);
        for bad in
            ["", "!", "c2Q", &URL_SAFE_NO_PAD.encode("sd 20 10 15 1"), &URL_SAFE_NO_PAD.encode("d 1 2 3")]
        {
            assert!(Page::from_cursor(bad, Windows::default()).is_err(), "{bad}");
        }
    }
}
