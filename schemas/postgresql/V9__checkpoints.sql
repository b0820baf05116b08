-- How far each shard is: read (ingest_checkpoints) and in history (flush_checkpoints).
set local role eaves_owner;

-- Moves in the transaction that stages the rows. `epoch` says in which life of staging
-- that was: if it is not the current one, everything after the flushed position is gone
-- and must be read again.
create table ingest_checkpoints (
  stream     text not null,
  shard      text not null,
  consumer   text not null,
  -- Null before the first commit.
  sequence   numeric,
  sub        int8,
  epoch      uuid not null,
  -- After staging was lost: how far the stream is to be read again before anything newer.
  -- Kept here, so that a replay that is interrupted goes on. Null when none is due.
  replay_sequence numeric,
  replay_sub      int8,
  updated_at timestamptz not null default now(),
  primary key (stream, shard, consumer)
) with (fillfactor = 50);

-- Moves in the transaction that moves rows to history; only forward. A table of its
-- own, because ingest holds its checkpoint row while it waits for a leaf of staging
-- that the flush holds.
create table flush_checkpoints (
  stream     text not null,
  shard      text not null,
  consumer   text not null,
  sequence   numeric not null,
  sub        int8 not null,
  updated_at timestamptz not null default now(),
  primary key (stream, shard, consumer)
) with (fillfactor = 50);

-- What the last flush did.
create table flush_state (
  only_row      bool primary key default true check (only_row),
  last_flush_at timestamptz,
  last_rows     int8 not null default 0,
  last_ms       float8 not null default 0,
  flushes       int8 not null default 0,
  rows_total    int8 not null default 0,
  -- So many flushes will expect points that are in history already, and so many after
  -- the next time that one comes unexpected.
  careful_flushes int4 not null default 0,
  careful_backoff int4 not null default 64,
  -- History holds everything that was committed before this. A replica has no staging to
  -- look at, so this is what a read there knows of the flush.
  history_as_of timestamptz not null default '-infinity'
) with (fillfactor = 50);
insert into flush_state default values;

grant select, insert, update on ingest_checkpoints, flush_checkpoints to eaves_pipeline;
grant select, update on flush_state to eaves_pipeline;
grant select on ingest_checkpoints, flush_checkpoints, flush_state to eaves_admin;
grant select on flush_state to eaves_query;
