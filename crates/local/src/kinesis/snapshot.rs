//! What outlives the process.
//!
//! Which streams and shards there are is written down whenever that changes, so positions
//! stay valid after any end. The records are written at a clean stop only, and that file is
//! taken away when it is read: after a crash the streams are there and empty, as if
//! retention had passed, never with a hole in their middle.

use super::hash::HashRange;
use super::sequence::Sequence;
use super::service::lock;
use super::shard::{Closed, Shard, Stored};
use super::stream::Stream;
use crate::files;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const MAGIC: &[u8] = b"eaves-kinesis-1\n";
/// Largest key or data of a record; more is a broken file.
const MOST: u32 = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct StreamNote {
    name: String,
    created_ms: u64,
    retention_ms: u64,
    next_index: u32,
    shards: Vec<ShardNote>,
}

#[derive(Serialize, Deserialize)]
struct ShardNote {
    index: u32,
    opened_s: u64,
    opened_ms: u64,
    /// First and last hash key, decimal.
    range: [String; 2],
    parent: Option<u32>,
    adjacent: Option<u32>,
    /// When it was closed, and its ending sequence number.
    closed: Option<(u64, [u64; 3])>,
}

fn shards_file(folder: &Path) -> PathBuf {
    folder.join("kinesis-streams.json")
}

fn records_file(folder: &Path) -> PathBuf {
    folder.join("kinesis-records.bin")
}

fn broken(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// Writes down which streams and shards there are.
pub(super) fn save_shards(folder: &Path, streams: &[Arc<Mutex<Stream>>]) -> io::Result<()> {
    let note = |stream: &Stream| StreamNote {
        name: stream.name.clone(),
        created_ms: stream.created_ms,
        retention_ms: stream.retention_ms,
        next_index: stream.next_index,
        shards: stream.shards.values().map(shard_note).collect(),
    };
    let notes: Vec<StreamNote> = streams.iter().map(|stream| note(&lock(stream))).collect();
    files::replace(&shards_file(folder), &serde_json::to_vec_pretty(&notes)?, 0o600)
}

fn shard_note(shard: &Shard) -> ShardNote {
    ShardNote {
        index: shard.index,
        opened_s: shard.opened_s,
        opened_ms: shard.opened_ms,
        range: [shard.range.start.to_string(), shard.range.end.to_string()],
        parent: shard.parent,
        adjacent: shard.adjacent,
        closed: shard.closed.map(|c| (c.at_ms, c.sequence.0)),
    }
}

/// Writes down all records.
pub(super) fn save_records(folder: &Path, streams: &[Arc<Mutex<Stream>>]) -> io::Result<()> {
    let path = records_file(folder);
    let temporary = path.with_extension("new");
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut out = BufWriter::new(file);
    out.write_all(MAGIC)?;
    for stream in streams {
        let stream = lock(stream);
        for record in stream.shards.values().flat_map(Shard::records) {
            write_part(&mut out, stream.name.as_bytes())?;
            record.sequence.0.iter().try_for_each(|limb| out.write_all(&limb.to_be_bytes()))?;
            out.write_all(&record.arrived_ms.to_be_bytes())?;
            write_part(&mut out, record.partition_key.as_bytes())?;
            write_part(&mut out, &record.data)?;
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    std::fs::rename(temporary, path)
}

fn write_part(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| broken("a record is too large"))?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(bytes)
}

/// The streams of a folder; none if nothing was written there. `cap` is in bytes.
pub(super) fn load(folder: &Path, cap: u64) -> io::Result<Vec<Stream>> {
    let records = records_file(folder);
    let mut streams: Vec<Stream> = match std::fs::read(shards_file(folder)) {
        Ok(bytes) => {
            let notes: Vec<StreamNote> = serde_json::from_slice(&bytes)?;
            notes.into_iter().map(|note| restore(note, cap)).collect::<io::Result<_>>()?
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    match std::fs::File::open(&records) {
        Ok(file) => {
            load_records(BufReader::new(file), &mut streams)?;
            std::fs::remove_file(records)?;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    Ok(streams)
}

fn restore(note: StreamNote, cap: u64) -> io::Result<Stream> {
    let mut shards = BTreeMap::new();
    for shard in note.shards {
        let [start, end] = shard.range.map(|key| key.parse::<u128>());
        let (Ok(start), Ok(end)) = (start, end) else { return Err(broken("a hash key is no number")) };
        let mut found = Shard::new(shard.index, HashRange { start, end }, &[], shard.opened_ms);
        found.opened_s = shard.opened_s;
        found.parent = shard.parent;
        found.adjacent = shard.adjacent;
        found.closed = shard.closed.map(|(at_ms, limbs)| Closed { at_ms, sequence: Sequence(limbs) });
        shards.insert(shard.index, found);
    }
    if !shards.values().any(Shard::is_open) {
        return Err(broken("a stream has no open shard"));
    }
    let mut stream = Stream::from_parts(&note.name, shards, cap, note.created_ms);
    stream.retention_ms = note.retention_ms;
    stream.next_index = stream.next_index.max(note.next_index);
    Ok(stream)
}

fn load_records(mut from: impl Read, streams: &mut [Stream]) -> io::Result<()> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(broken("not a file of Kinesis records"));
    }
    let mut by_name: BTreeMap<String, &mut Stream> =
        streams.iter_mut().map(|stream| (stream.name.clone(), stream)).collect();
    while let Some(name) = read_part(&mut from)? {
        let [high, middle, low, arrived_ms] =
            [number(&mut from)?, number(&mut from)?, number(&mut from)?, number(&mut from)?];
        let sequence = Sequence([high, middle, low]);
        let key = read_part(&mut from)?.and_then(|key| String::from_utf8(key).ok());
        let data = read_part(&mut from)?;
        let (Some(key), Some(data)) = (key, data) else { return Err(broken("a record ends early")) };
        let name = String::from_utf8(name).map_err(|_| broken("a name is no UTF-8"))?;
        // A stream that is noted nowhere was being deleted.
        if let Some(stream) = by_name.get_mut(&name) {
            let (partition_key, data) = (key.into(), Bytes::from(data));
            stream.restore(Stored { sequence, arrived_ms, partition_key, data });
        }
    }
    Ok(())
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

/// A length and as many bytes; `None` at the end of the file.
fn read_part(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read(&mut length)? {
        0 => return Ok(None),
        n => from.read_exact(&mut length[n..])?,
    }
    let length = u32::from_be_bytes(length);
    if length > MOST {
        return Err(broken("a part of a record is too long"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}
