//! The SQL functions decide as `eaves_model::delivery` says, state by state.
//!
//! The model is explored under crashes in `eaves-model`; here arbitrary states are put into the
//! tables, one step is done by the database and by the model, and what comes out is compared.

use crate::support::{Database, Server, Suite, place, position};
use eaves_model::Position;
use eaves_model::delivery::{Checkpoint, watermark};
use eaves_store::ingest::{Commit, CommitError, IngestStore};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::Arc;

/// States that are tried of each step.
const STATES: u64 = 400;

pub fn add(suite: &mut Suite) {
    suite.test("agreement::checkpoints_move_as_the_model_says", checkpoints);
    suite.test("agreement::the_watermark_is_the_models", watermarks);
}

/// One of a few positions, so that equal ones and neighbours meet.
fn some(rng: &mut StdRng) -> Position {
    let record = position(rng.random_range(1..6));
    match rng.random_range(0..3) {
        0 => Position::within(record.sequence(), rng.random_range(0..2)).unwrap(),
        _ => record,
    }
}

fn maybe(rng: &mut StdRng) -> Option<Position> {
    rng.random_bool(0.7).then(|| some(rng))
}

fn whole(rng: &mut StdRng) -> Position {
    position(rng.random_range(1..6))
}

/// Any state that the tables can hold: more than can be reached.
fn state(rng: &mut StdRng) -> Checkpoint {
    Checkpoint {
        begin: rng.random_bool(0.7).then(|| whole(rng)),
        position: maybe(rng),
        flushed: maybe(rng),
        epoch_current: rng.random_bool(0.6),
        replay_to: maybe(rng),
        lost_to: maybe(rng),
    }
}

#[derive(Debug)]
enum Step {
    Begun(Position, Position),
    Rewound(Option<Position>),
    Replayed(Option<Position>),
    Taken(Option<Position>, Position),
}

fn step(rng: &mut StdRng, at: &Checkpoint) -> Step {
    let here = |rng: &mut StdRng| if rng.random_bool(0.7) { at.position.clone() } else { maybe(rng) };
    match rng.random_range(0..4) {
        // Where a shard begins is a whole record, and so is what was acknowledged before.
        0 => Step::Begun(whole(rng), if rng.random_bool(0.2) { Position::end() } else { whole(rng) }),
        1 => Step::Rewound(maybe(rng)),
        2 => Step::Replayed(here(rng)),
        _ => Step::Taken(here(rng), some(rng)),
    }
}

/// What the model makes of it.
fn by_the_model(at: &Checkpoint, step: &Step) -> Checkpoint {
    match step {
        Step::Begun(begin, until) => at.begun(begin, until),
        Step::Rewound(until) => at.rewound(until.as_ref()),
        // The caller found nothing more behind this place: not so if somebody has moved it.
        Step::Replayed(place) if *place == at.position && at.epoch_current => at.replayed(),
        Step::Replayed(_) => at.clone(),
        Step::Taken(expected, to) => match at.admits(expected.as_ref()) {
            Ok(()) => at.advanced(to),
            Err(_) => at.clone(),
        },
    }
}

async fn by_the_database(store: &mut IngestStore, shard: &str, step: &Step) {
    let place = place(shard);
    match step {
        Step::Begun(begin, until) => store.begun(&place, begin, until).await.unwrap(),
        Step::Rewound(until) => store.rewind(&place, until.as_ref()).await.unwrap(),
        Step::Replayed(at) => store.end_replay(&place, at.as_ref()).await.unwrap(),
        Step::Taken(expected, position) => {
            let commit = Commit {
                stream: &place.stream,
                shard,
                consumer: &place.consumer,
                expected: expected.as_ref(),
                position,
                points: &[],
                hot: &[],
                ledger: &[],
                quarantine: &[],
                redrives: &[],
            };
            match store.commit(&commit).await {
                Ok(_) | Err(CommitError::CheckpointMoved { .. } | CommitError::StagingLost { .. }) => {}
                Err(e) => panic!("{e:?}"),
            }
        }
    }
}

fn sql(at: Option<&Position>) -> String {
    at.map_or("null, null".into(), |at| format!("{}, {}", at.sequence(), at.sub()))
}

/// Puts a state into the tables.
async fn set(db: &Database, shard: &str, at: &Checkpoint) {
    let begin = at.begin.as_ref().map_or("null", |begin| begin.sequence());
    let epoch = if at.epoch_current { "current_epoch()" } else { "gen_random_uuid()" };
    let (position, replay, lost) =
        (sql(at.position.as_ref()), sql(at.replay_to.as_ref()), sql(at.lost_to.as_ref()));
    let mut statements = format!(
        "insert into ingest_checkpoints (stream, shard, consumer, epoch, begin_sequence, sequence, sub,
           replay_sequence, replay_sub, lost_sequence, lost_sub)
         values ('stream', '{shard}', 'test', {epoch}, {begin}, {position}, {replay}, {lost});"
    );
    if let Some(flushed) = &at.flushed {
        let flushed = sql(Some(flushed));
        statements += &format!(
            "insert into flush_checkpoints (stream, shard, consumer, sequence, sub)
             values ('stream', '{shard}', 'test', {flushed});"
        );
    }
    db.sql.batch_execute(&statements).await.unwrap();
}

async fn checkpoints(server: Arc<Server>) {
    let db = server.database().await;
    let mut store = db.writer("none").await.store;
    let seed: u64 = rand::rng().random();
    let mut rng = StdRng::seed_from_u64(seed);
    for n in 0..STATES {
        let shard = format!("shard-{n}");
        let before = state(&mut rng);
        let step = step(&mut rng, &before);
        set(&db, &shard, &before).await;
        by_the_database(&mut store, &shard, &step).await;
        let found = store.checkpoint(&place(&shard)).await.unwrap();
        let expected = by_the_model(&before, &step);
        assert_eq!(found, expected, "seed {seed}, state {n}: {step:?} on {before:?}");
    }
}

/// Batches of a shard in either leaf, one leaf flushed.
async fn watermarks(server: Arc<Server>) {
    let db = server.database().await;
    let mut store = db.writer("none").await.store;
    let seed: u64 = rand::rng().random();
    let mut rng = StdRng::seed_from_u64(seed);
    for n in 0..STATES {
        let shard = format!("shard-{n}");
        // A chain: each batch begins where the one before it ended.
        let first = rng.random_bool(0.5).then(|| position(1));
        let mut chain: Vec<(Option<Position>, Position, i16)> = Vec::new();
        for at in 0..rng.random_range(0..5u64) {
            let previous = chain.last().map_or(first.clone(), |(_, to, _)| Some(to.clone()));
            chain.push((previous, position(2 + at), rng.random_range(0..2)));
        }
        let last = chain.last().map_or(first.clone(), |(_, to, _)| Some(to.clone()));
        let flushed = first.clone().filter(|_| rng.random_bool(0.5));
        let at = Checkpoint { position: last, flushed, ..Checkpoint::UNSEEN };
        set(&db, &shard, &at).await;
        for (previous, to, slot) in &chain {
            let (previous, to) = (sql(previous.as_ref()), sql(Some(to)));
            let batch = format!(
                "insert into staging_batches (slot, stream, shard, consumer, previous_sequence, previous_sub,
                   sequence, sub, row_count) values ({slot}, 'stream', '{shard}', 'test', {previous}, {to}, 0)"
            );
            db.sql.batch_execute(&batch).await.unwrap();
        }
        let leaf: i16 = rng.random_range(0..2);
        db.sql.batch_execute(&format!("select flush_leaf({leaf}::int2)")).await.unwrap();
        let found = store.checkpoint(&place(&shard)).await.unwrap().flushed;
        // What stays: the other leaf's, and what has something of the other leaf before it.
        let other: Vec<&Position> =
            chain.iter().filter(|(_, _, s)| *s != leaf).map(|(_, to, _)| to).collect();
        let left = chain.iter().filter(|(_, to, slot)| *slot != leaf || other.iter().any(|o| *o < to));
        let left = left.map(|(previous, to, _)| (previous.as_ref(), to));
        let expected = watermark(at.position.as_ref(), left).cloned();
        // It never goes back, and nothing known is nothing written.
        let expected = expected.max(at.flushed.clone());
        assert_eq!(found, expected, "seed {seed}, state {n}: leaf {leaf} of {chain:?} at {at:?}");
        db.sql.batch_execute("truncate staging_batches").await.unwrap();
    }
}
