//! Records to readings by tenant; what cannot become a reading goes to the account.

use crate::directory::Directory;
use crate::ingest::{IngestError, Record};
use crate::work::{Account, Origin, Redrive, Refusal, TenantWork};
use eaves_codec::redrive::{self, Marker};
use eaves_codec::{Refused, decode, encode, pieces};
use eaves_model::delivery::is_duplicate;
use eaves_model::{Code, Position, Reading, Rejection, TenantId, Timestamp, TraceParent};
use eaves_store::ingest::{IngestStore, Redriven, Settled, ShardPlace, Verdict};
use eaves_telemetry::trace;
use std::collections::{HashMap, HashSet};

/// Records of which one transaction's part is to be read.
#[derive(Clone, Copy)]
pub(crate) struct Part<'r, 'a> {
    /// The records with their positions.
    pub(crate) records: &'r [(Position, &'a Record)],
    /// The last piece that was taken already.
    pub(crate) expected: Option<&'r Position>,
    /// Values after which no further piece is read.
    pub(crate) values: usize,
}

/// What records came to.
pub(crate) struct Sorted<'a> {
    pub(crate) by_tenant: Vec<TenantWork<'a>>,
    /// The last piece that was read.
    pub(crate) reached: Position,
    /// Whose requests sent the records, as far as they say so and spans are exported.
    pub(crate) senders: Vec<TraceParent>,
}

/// What a record is, by its frame.
#[derive(Clone, Copy)]
enum Frame<'a> {
    /// A device's record, or one whose frame is nobody's.
    None,
    /// A redrive that takes effect, with its index in the account.
    Redrive(usize, &'a [u8]),
    /// A redrive whose effect another record has.
    Duplicate(&'a [u8]),
}

/// Decodes records and sorts their readings by tenant.
pub(crate) async fn readings<'a>(
    directory: &mut Directory,
    store: &mut IngestStore,
    place: &ShardPlace,
    part: Part<'_, 'a>,
    account: &mut Account,
) -> Result<Sorted<'a>, IngestError> {
    let Part { records, expected, values: most } = part;
    let now = Timestamp::now();
    let frames = frames(store, place, records, account).await?;
    let (mut values, mut reached) = (0, None);
    let mut redrives = 0;
    let mut readings: Vec<(Origin<'a>, Reading)> = Vec::with_capacity(records.len());
    let mut refused: Vec<(Origin<'a>, Refused)> = Vec::new();
    let (traced, mut senders) = (trace::enabled(), Vec::new());
    let mut duplicates: Vec<(Origin<'a>, Option<String>, u32)> = Vec::new();
    'records: for ((whole, record), frame) in records.iter().zip(frames) {
        let (bytes, redrive, redriven_before) = match frame {
            Frame::None => (record.data.as_slice(), None, false),
            Frame::Redrive(index, payload) => {
                redrives = index + 1;
                (payload, Some(index), false)
            }
            Frame::Duplicate(payload) => (payload, None, true),
        };
        // The clock of the stream, so that a record read again is judged as at first.
        let arrived = record.arrived.unwrap_or(now);
        let mut subs = decode(bytes, arrived).items.into_iter().peekable();
        while let Some(sub) = subs.next() {
            let at = match subs.peek() {
                None => whole.clone(),
                Some(_) => Position::within(&record.sequence, sub.sub)?,
            };
            if is_duplicate(expected, &at) {
                continue;
            }
            let mut origin = Origin { sequence: &record.sequence, sub: sub.sub, item: 0, arrived, redrive };
            for piece in sub.outcome.unwrap_or_else(|why| vec![Err(why)]) {
                let count = piece.as_ref().map_or(1, pieces);
                values += count as usize;
                match piece {
                    piece if redriven_before => {
                        let tenant = piece.map_or_else(|why| why.tenant, |r| Some(r.tenant.into()));
                        duplicates.push((origin, tenant, count));
                    }
                    Ok(reading) => {
                        if let Some(sender) = reading.trace.as_deref().filter(|_| traced) {
                            note(&mut senders, *sender);
                        }
                        readings.push((origin, reading));
                    }
                    Err(why) => refused.push((origin, why)),
                }
                origin = origin.piece(count);
            }
            reached = Some(at);
            // A redrive settles its quarantine row as a whole.
            if values >= most && redrive.is_none() {
                account.report.records += u64::from(subs.peek().is_none());
                break 'records;
            }
        }
        account.report.records += 1;
    }
    // Those of records beyond the cut are the next transaction's.
    account.redrives.truncate(redrives);
    // Each record has pieces, and the last of each is newer than `expected`.
    let Some(reached) = reached else { return Err(IngestError::Empty) };
    let mut names: Vec<&str> = readings.iter().map(|(_, r)| &*r.tenant).collect();
    names.extend(refused.iter().filter_map(|(_, r)| r.tenant.as_deref()));
    names.extend(duplicates.iter().filter_map(|(_, name, _)| name.as_deref()));
    names.sort_unstable();
    names.dedup();
    directory.load_tenants(store, &names).await?;

    let id = |name: Option<&str>| name.and_then(|name| directory.tenant(name)).map(|t| t.id);
    for (origin, name, count) in duplicates {
        let tenant = id(name.as_deref());
        account.receive(tenant, origin, count);
        account.duplicate(tenant, origin, count);
    }
    for (origin, r) in refused {
        // Even an unreadable record is its tenant's, if it says whose it is.
        let tenant = id(r.tenant.as_deref());
        let named = r.tenant.as_deref().filter(|_| tenant.is_none());
        account.receive(tenant, origin, 1);
        let refusal = Refusal { why: r.rejection, payload: r.payload, digest: None };
        account.quarantine((tenant, named), origin, refusal, 1);
    }
    let mut index: HashMap<Box<str>, usize> = HashMap::new();
    let mut by_tenant: Vec<TenantWork<'a>> = Vec::new();
    for (origin, reading) in readings {
        let tenant = id(Some(&reading.tenant));
        if let Some(why) = foreign(tenant, &reading, origin, account) {
            account.receive(None, origin, pieces(&reading));
            let refusal = Refusal { why, payload: encode::whole(&reading).into_bytes(), digest: None };
            account.quarantine((None, Some(&reading.tenant)), origin, refusal, pieces(&reading));
            continue;
        }
        account.receive(tenant, origin, pieces(&reading));
        let at = *index.entry(reading.tenant.clone()).or_insert_with(|| {
            by_tenant.push(TenantWork { name: reading.tenant.clone(), readings: Vec::new() });
            by_tenant.len() - 1
        });
        by_tenant[at].readings.push((origin, reading));
    }
    Ok(Sorted { by_tenant, reached, senders })
}

/// Keeps each sender once, and as many as a span can have links.
fn note(senders: &mut Vec<TraceParent>, sender: TraceParent) {
    if senders.len() < trace::MOST_LINKS && !senders.contains(&sender) {
        senders.push(sender);
    }
}

/// Why a reading is nobody's to take: there is no such tenant, or it comes out of another
/// tenant's quarantine.
fn foreign(
    tenant: Option<TenantId>,
    reading: &Reading,
    origin: Origin<'_>,
    account: &Account,
) -> Option<Rejection> {
    let Some(tenant) = tenant else {
        let text = format!("there is no tenant {:?}", reading.tenant);
        return Some(Rejection::new(Code::UNKNOWN_TENANT, "tenant", text));
    };
    let owner = origin.redrive.and_then(|at| account.redrives.get(at)).and_then(|r| r.tenant);
    if owner.is_none_or(|owner| owner == tenant) {
        return None;
    }
    let text = "is another tenant than the one whose quarantine this comes from";
    Some(Rejection::new(Code::OTHER_TENANT, "tenant", text))
}

/// Tells redriven records from those of devices, and which of them take effect: one a row,
/// the first in the batch.
async fn frames<'a>(
    store: &mut IngestStore,
    place: &ShardPlace,
    records: &[(Position, &'a Record)],
    account: &mut Account,
) -> Result<Vec<Frame<'a>>, IngestError> {
    let marked: Vec<(&'a Record, Marker, &'a [u8])> = records
        .iter()
        .filter_map(|(_, record)| {
            redrive::unwrap(&record.data).map(|(marker, payload)| (*record, marker, payload))
        })
        .collect();
    if marked.is_empty() {
        return Ok(vec![Frame::None; records.len()]);
    }
    let asked: Vec<Redriven> = marked
        .iter()
        .map(|(record, marker, _)| Redriven {
            id: marker.id,
            token: marker.token.to_vec(),
            sequence: record.sequence.clone(),
        })
        .collect();
    let verdicts = store.redrives(&place.stream, &place.shard, &asked).await?;
    let mut taken = HashSet::new();
    let mut frames = HashMap::new();
    for ((record, marker, payload), verdict) in marked.into_iter().zip(verdicts) {
        let frame = match verdict {
            Verdict::Forged => {
                tracing::warn!(
                    shard.id = place.shard,
                    quarantine.id = marker.id,
                    "a redrive frame is nobody's"
                );
                Frame::None
            }
            Verdict::Take { tenant, attempts } if taken.insert(marker.id) => {
                let settled =
                    Settled { id: marker.id, sequence: record.sequence.clone(), taken: 0, refused: 0 };
                account.redrives.push(Redrive { settled, tenant, attempts });
                Frame::Redrive(account.redrives.len() - 1, payload)
            }
            Verdict::Take { .. } | Verdict::Duplicate => Frame::Duplicate(payload),
        };
        frames.insert(record.sequence.as_str(), frame);
    }
    Ok(records.iter().map(|(_, r)| frames.get(r.sequence.as_str()).copied().unwrap_or(Frame::None)).collect())
}
