//! The order of what a search finds, and the cursor that keeps to it.

use crate::problem::Problem;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_model::EntityId;
use eaves_model::reading::check_name;
use eaves_store::read::{SearchRow, SearchSort};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is sorted by, where that is no attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SortBy {
    /// As they were registered.
    #[default]
    Registered,
    /// By the tenant's own names.
    ExternalId,
}

/// Which comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The least.
    #[default]
    Asc,
    /// The greatest.
    Desc,
}

/// The order of what is found.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sort {
    /// `registered` (default) or `external_id`.
    by: Option<SortBy>,
    /// Instead of `by`: a hot attribute. Entities without it come last.
    #[schema(example = "temperature")]
    attribute: Option<String>,
    /// `asc` (default) or `desc`.
    order: Order,
}

/// Where a page begins.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The order that it is a place in.
    order: String,
    /// The last entity told.
    pub(super) after: i64,
    /// What it was sorted by.
    pub(super) key: Option<String>,
}

impl Sort {
    pub(super) fn checked(&self) -> Result<(SearchSort, bool), Problem> {
        let descending = self.order == Order::Desc;
        match (&self.attribute, self.by) {
            (Some(_), Some(_)) => {
                Err(Problem::bad_body("sort", "has both by and attribute: leave one of them out"))
            }
            (Some(name), None) => {
                check_name("sort.attribute", name)
                    .map_err(|r| Problem::bad_body("sort.attribute", r.message))?;
                Ok((SearchSort::Attribute(name.clone()), descending))
            }
            (None, Some(SortBy::ExternalId)) => Ok((SearchSort::ExternalId, descending)),
            (None, Some(SortBy::Registered) | None) => Ok((SearchSort::Registered, descending)),
        }
    }
}

fn named(sort: &SearchSort, descending: bool) -> String {
    let sign = if descending { '-' } else { '+' };
    match sort {
        SearchSort::Registered => format!("{sign}r"),
        SearchSort::ExternalId => format!("{sign}x"),
        SearchSort::Attribute(name) => format!("{sign}a{name}"),
    }
}

impl Cursor {
    /// Behind the last entity of a page.
    pub(super) fn behind(last: &SearchRow, sort: &SearchSort, descending: bool) -> String {
        let key = match sort {
            SearchSort::Registered => None,
            SearchSort::ExternalId => Some(last.entity.external_id.clone()),
            SearchSort::Attribute(_) => last.key.clone(),
        };
        let cursor = Self { order: named(sort, descending), after: last.entity.entity.0, key };
        URL_SAFE_NO_PAD.encode(serde_json::to_string(&cursor).unwrap_or_default())
    }

    /// The cursor in a request, which must be of the same order.
    pub(super) fn parse(text: &str, sort: &SearchSort, descending: bool) -> Result<Self, Problem> {
        let plain = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor: Option<Self> = plain.as_deref().and_then(|plain| serde_json::from_slice(plain).ok());
        let fits = |c: &Self| {
            EntityId(c.after) > EntityId(0) && !c.key.as_deref().unwrap_or_default().contains('\0')
        };
        let Some(cursor) = cursor.filter(fits) else {
            return Err(Problem::bad_body("cursor", "is not a cursor that a search answer gave"));
        };
        if cursor.order != named(sort, descending) {
            return Err(Problem::bad_body("cursor", "is of a search with another sort: give the same one"));
        }
        Ok(cursor)
    }
}

/// Whether a text is a cursor of a search without a sort.
pub(crate) fn takes_cursor(text: &str) -> bool {
    Cursor::parse(text, &SearchSort::Registered, false).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_store::read::EntityRow;

    #[test]
    fn a_cursor_keeps_to_its_order() {
        let row = EntityRow {
            entity: EntityId(7),
            external_id: "p-7".into(),
            entity_type: String::new(),
            version: 1,
            attrs_json: "{}".into(),
            times_json: "{}".into(),
        };
        let row = SearchRow { entity: row, key: Some("12.50".into()) };
        let attribute = SearchSort::Attribute("t".into());
        let text = Cursor::behind(&row, &attribute, true);
        let back = Cursor::parse(&text, &attribute, true).unwrap();
        assert_eq!((back.after, back.key.as_deref()), (7, Some("12.50")));
        assert!(Cursor::parse(&text, &attribute, false).is_err());
        assert!(Cursor::parse(&text, &SearchSort::ExternalId, true).is_err());
        let text = Cursor::behind(&row, &SearchSort::ExternalId, false);
        assert_eq!(Cursor::parse(&text, &SearchSort::ExternalId, false).unwrap().key.as_deref(), Some("p-7"));
        for bad in ["", "zzz", &URL_SAFE_NO_PAD.encode(r#"{"order":"+r","after":-1,"key":null}"#)] {
            assert!(Cursor::parse(bad, &SearchSort::Registered, false).is_err(), "{bad}");
        }
    }
}
