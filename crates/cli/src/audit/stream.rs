//! The stream, counted once more: what was sent, and whether what was taken is there.

use super::sheet::Sheet;
use anyhow::Result;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use eaves_codec::redrive;
use eaves_codec::{decode, pieces};
use eaves_model::{Position, TenantId, Timestamp};
use eaves_store::admin::{AdminStore, AuditSnapshot, HeldOfRecord, PointKey};
use eaves_store::ingest::{Redriven, Verdict};
use std::collections::HashMap;

/// Most records read at a time.
const PAGE: i32 = 1_000;
/// Empty pages in a row after which a shard has no more.
const EMPTY_PAGES: u32 = 5;
/// Points looked for at a time.
const POINTS: usize = 10_000;

/// What is counted.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    pub(super) stream: &'a str,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// Counts the stream's records of the span into the sheet, shard by shard. Where the stream
/// does not keep all of the span any more, says so and counts nothing.
pub(super) async fn count(
    client: &Client,
    store: &AdminStore,
    span: Span<'_>,
    snapshot: &AuditSnapshot,
    sheet: &mut Sheet,
) -> Result<()> {
    let summary = client.describe_stream_summary().stream_name(span.stream).send().await?;
    let kept = summary.stream_description_summary.map_or(24, |s| s.retention_period_hours);
    let oldest = Timestamp::now().plus_micros(-i64::from(kept) * 3_600_000_000);
    if span.since < oldest {
        sheet.note(format!("the stream keeps {kept} h: sent is what the ledger says was received"));
        return Ok(());
    }
    sheet.stream_is_read();
    for shard in shards(client, span.stream).await? {
        let done = snapshot.shards.iter().find(|s| s.shard == shard).and_then(|s| s.position());
        let mut iterator = iterator(client, span, &shard).await?;
        let mut empty = 0;
        while let Some(from) = iterator {
            let page = client.get_records().shard_iterator(from).limit(PAGE).send().await?;
            let last = page.records.last().and_then(arrived);
            let records: Vec<&Record> =
                page.records.iter().filter(|r| arrived(r).is_some_and(|t| within(span, t))).collect();
            page_of(store, span, snapshot, sheet, &shard, done.as_ref(), &records).await?;
            empty = if page.records.is_empty() { empty + 1 } else { 0 };
            let at_tip = page.millis_behind_latest == Some(0) && page.records.is_empty();
            if at_tip || empty >= EMPTY_PAGES || last.is_some_and(|t| t >= span.until) {
                break;
            }
            iterator = page.next_shard_iterator;
        }
    }
    Ok(())
}

async fn shards(client: &Client, stream: &str) -> Result<Vec<String>> {
    let mut shards = Vec::new();
    let mut token = None;
    loop {
        let request = match token.take() {
            None => client.list_shards().stream_name(stream),
            Some(token) => client.list_shards().next_token(token),
        };
        let answer = request.send().await?;
        shards.extend(answer.shards.unwrap_or_default().into_iter().map(|s| s.shard_id));
        token = answer.next_token;
        if token.is_none() {
            return Ok(shards);
        }
    }
}

async fn iterator(client: &Client, span: Span<'_>, shard: &str) -> Result<Option<String>> {
    let request = client.get_shard_iterator().stream_name(span.stream).shard_id(shard);
    let request = request
        .shard_iterator_type(ShardIteratorType::AtTimestamp)
        .timestamp(DateTime::from_secs(span.since.as_micros().div_euclid(1_000_000)));
    Ok(request.send().await?.shard_iterator)
}

/// To the second, as ingest takes it.
fn arrived(record: &Record) -> Option<Timestamp> {
    Timestamp::from_micros(record.approximate_arrival_timestamp?.secs().checked_mul(1_000_000)?)
}

fn within(span: Span<'_>, time: Timestamp) -> bool {
    span.since <= time && time < span.until
}

/// What one record has.
#[derive(Default)]
struct Counted {
    /// Pieces by the tenant that is named now; none if there is no such tenant.
    pieces: HashMap<TenantId, i64>,
    points: Vec<PointKey>,
}

/// Counts a page of one shard.
async fn page_of(
    store: &AdminStore,
    span: Span<'_>,
    snapshot: &AuditSnapshot,
    sheet: &mut Sheet,
    shard: &str,
    done: Option<&Position>,
    records: &[&Record],
) -> Result<()> {
    let duplicates = duplicates(store, span, shard, records).await?;
    let sequences: Vec<&str> = records.iter().map(|r| r.sequence_number.as_str()).collect();
    let mut held: HashMap<Position, Vec<HeldOfRecord>> = HashMap::new();
    for h in store.audit_quarantined(span.stream, shard, &sequences).await? {
        held.entry(Position::whole(&h.sequence)?).or_default().push(h);
    }
    let mut wanted: Vec<(usize, PointKey)> = Vec::new();
    let mut left: Vec<HashMap<TenantId, i64>> = Vec::new();
    for record in records {
        let at = Position::whole(&record.sequence_number)?;
        let frame = duplicates.get(&record.sequence_number);
        let mut counted = counted(record, frame, &snapshot.tenants);
        if done.is_none_or(|done| at > *done) {
            for (tenant, pieces) in counted.pieces {
                sheet.line(shard, tenant).pending += pieces;
            }
            continue;
        }
        let held = held.get(&at).map(Vec::as_slice).unwrap_or_default();
        // A tenant that is there now may not have been when the record was taken.
        for h in held.iter().filter(|h| h.tenant == TenantId(0)) {
            let Some(id) = h.named.as_ref().and_then(|name| snapshot.tenants.get(name)) else { continue };
            let pieces = i64::try_from(h.pieces)?;
            *counted.pieces.entry(*id).or_default() -= pieces;
            *counted.pieces.entry(TenantId(0)).or_default() += pieces;
        }
        for (tenant, pieces) in &counted.pieces {
            sheet.line(shard, *tenant).sent += pieces;
            if frame == Some(&Frame::Duplicate) {
                sheet.repeated(shard, *tenant, *pieces);
            }
        }
        if frame == Some(&Frame::Duplicate) {
            continue;
        }
        // What is not in quarantine must be among the points.
        for h in held {
            *counted.pieces.entry(h.tenant).or_default() -= i64::try_from(h.pieces)?;
        }
        wanted.extend(counted.points.into_iter().map(|point| (left.len(), point)));
        left.push(counted.pieces);
    }
    for part in wanted.chunks(POINTS) {
        let points: Vec<PointKey> = part.iter().map(|(_, point)| point.clone()).collect();
        let missing = store.audit_missing(&points).await?;
        let mut there = vec![true; part.len()];
        missing.into_iter().for_each(|at| there[at] = false);
        for ((record, point), _) in part.iter().zip(there).filter(|(_, there)| *there) {
            *left[*record].entry(point.tenant).or_default() -= 1;
        }
    }
    // Fewer than none: a refused value's point was sent another time as well.
    for (tenant, pieces) in left.into_iter().flatten().filter(|(_, pieces)| *pieces > 0) {
        sheet.line(shard, tenant).missing += pieces;
    }
    Ok(())
}

/// What a framed record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Redrive,
    Duplicate,
    Forged,
}

async fn duplicates(
    store: &AdminStore,
    span: Span<'_>,
    shard: &str,
    records: &[&Record],
) -> Result<HashMap<String, Frame>> {
    let mut asked = Vec::new();
    for record in records {
        if let Some((marker, _)) = redrive::unwrap(record.data.as_ref()) {
            let (id, token) = (marker.id, marker.token.to_vec());
            asked.push(Redriven { id, token, sequence: record.sequence_number.clone() });
        }
    }
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let verdicts = store.audit_redrives(span.stream, shard, &asked).await?;
    let frame = |verdict| match verdict {
        Verdict::Take { .. } => Frame::Redrive,
        Verdict::Duplicate => Frame::Duplicate,
        Verdict::Forged => Frame::Forged,
    };
    Ok(asked.into_iter().zip(verdicts).map(|(r, v)| (r.sequence, frame(v))).collect())
}

/// Takes a record apart as ingest does.
fn counted(record: &Record, frame: Option<&Frame>, tenants: &HashMap<String, TenantId>) -> Counted {
    let data = record.data.as_ref();
    let bytes = match (frame, redrive::unwrap(data)) {
        (Some(Frame::Redrive | Frame::Duplicate), Some((_, payload))) => payload,
        _ => data,
    };
    let mut out = Counted::default();
    let id = |name: &str| tenants.get(name).copied().unwrap_or(TenantId(0));
    // Times were judged by the clock then: a device ahead of it is judged by when it arrived.
    let now = arrived(record).unwrap_or_else(Timestamp::now);
    for piece in decode(bytes, now).items.into_iter().flat_map(|i| i.outcome.unwrap_or_else(|e| vec![Err(e)]))
    {
        match piece {
            Ok(reading) => {
                let tenant = id(&reading.tenant);
                *out.pieces.entry(tenant).or_default() += i64::from(pieces(&reading));
                if tenant == TenantId(0) {
                    continue;
                }
                out.points.extend(reading.values.into_iter().map(|(attribute, _)| PointKey {
                    tenant,
                    entity: reading.entity.clone(),
                    attribute,
                    observed_at: reading.observed_at,
                }));
            }
            Err(why) => {
                let tenant = why.tenant.as_deref().map_or(TenantId(0), id);
                *out.pieces.entry(tenant).or_default() += 1;
            }
        }
    }
    out
}
