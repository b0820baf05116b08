//! Series as lines and rows.

use super::raw::{BucketBody, Series, SeriesAnswer, SeriesPoint};
use crate::format::{Listed, cell};
use eaves_model::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A point, or with `bucket` a bucket, as one line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesLine<'a> {
    /// The attribute.
    #[schema(example = "temperature")]
    attribute: &'a str,
    /// Of a point: when it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    observed_at: Option<Timestamp>,
    /// Of a point: the value, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<&'a RawValue>,
    /// Of a point: when the platform took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ingested_at: Option<Timestamp>,
    /// With `bucket`: when it begins, and the figures asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BucketBody>)]
    bucket: Option<&'a BucketBody>,
}

fn points(series: &Series) -> impl Iterator<Item = (&str, &SeriesPoint)> {
    series.points.iter().flatten().map(|point| (series.attribute.as_str(), point))
}

fn buckets(series: &Series) -> impl Iterator<Item = (&str, &BucketBody)> {
    series.buckets.iter().flatten().map(|bucket| (series.attribute.as_str(), bucket))
}

impl Listed for SeriesAnswer {
    fn next_cursor(&self) -> Option<&str> {
        self.next_cursor.as_deref()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        let points = self.series.iter().flat_map(points).map(|(attribute, point)| SeriesLine {
            attribute,
            observed_at: Some(point.observed_at),
            value: Some(&point.value),
            ingested_at: Some(point.ingested_at),
            bucket: None,
        });
        let buckets = self.series.iter().flat_map(buckets).map(|(attribute, bucket)| SeriesLine {
            attribute,
            observed_at: None,
            value: None,
            ingested_at: None,
            bucket: Some(bucket),
        });
        points.chain(buckets).map(|line| serde_json::to_string(&line)).collect()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        if self.metadata.bucket_seconds.is_some() {
            let names = ["attribute", "from", "count", "min", "max", "avg", "first", "last"];
            let mut rows = vec![names.map(str::to_owned).to_vec()];
            let figure = |f: &Option<Box<RawValue>>| f.as_deref().map(cell).unwrap_or_default();
            rows.extend(self.series.iter().flat_map(buckets).map(|(attribute, b)| {
                let count = b.count.map(|n| n.to_string()).unwrap_or_default();
                let figures = [&b.min, &b.max, &b.avg, &b.first, &b.last].map(figure);
                [[attribute.to_owned(), b.from.to_string(), count].as_slice(), &figures].concat()
            }));
            return rows;
        }
        let names = ["attribute", "observed_at", "value", "ingested_at"];
        let mut rows = vec![names.map(str::to_owned).to_vec()];
        rows.extend(self.series.iter().flat_map(points).map(|(attribute, p)| {
            vec![attribute.to_owned(), p.observed_at.to_string(), cell(&p.value), p.ingested_at.to_string()]
        }));
        rows
    }
}
