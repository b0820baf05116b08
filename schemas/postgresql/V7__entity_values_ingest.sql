-- Staging: where values land first. UNLOGGED: a crash or failover empties it, and the
-- epoch (see V9) makes ingest read the lost part from the stream again.
set local role eaves_owner;

-- The parent holds no rows itself. It carries the row policies for whoever reads all
-- of staging; writers go to the leaves, since COPY is refused under row-level security.
create table entity_values_ingest (
  entity_id       int8 not null,
  observed_at     timestamptz not null,
  ingested_at     timestamptz not null default now(),
  tenant_id       int4 not null,
  attribute_id    int4 not null,
  plugin_id       int4,
  value_bool      bool,
  value_int       int8,
  value_float     float8,
  value_decimal   numeric,
  value_timestamp timestamptz,
  value           text,
  constraint rows_belong_in_a_leaf check (false) no inherit
);

alter table entity_values_ingest enable row level security;
alter table entity_values_ingest force row level security;
create policy pipeline on entity_values_ingest to eaves_pipeline using (true) with check (true);
grant select on entity_values_ingest to eaves_pipeline;

-- Two leaves in turn: one is written while the other moves to history and is
-- truncated. Plain inheritance instead of partitions saves a slot column in every row.
-- Vacuum has nothing to do in a table that is truncated, but it would make the flush
-- wait for a second: absolute thresholds that only a stuck flush reaches.
create unlogged table entity_values_ingest_0 () inherits (entity_values_ingest)
  with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000000,
        autovacuum_vacuum_insert_threshold = -1,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000000);
create unlogged table entity_values_ingest_1 () inherits (entity_values_ingest)
  with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000000,
        autovacuum_vacuum_insert_threshold = -1,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000000);

-- INSERT and nothing else: enough for COPY FROM, not enough to read a row back.
grant insert on entity_values_ingest_0, entity_values_ingest_1 to eaves_ingest;
-- TRUNCATE lets the flush take its lock and empty a leaf, DELETE is its second way.
grant select, truncate, delete on entity_values_ingest_0, entity_values_ingest_1 to eaves_pipeline;

-- Which leaf is written now: its last_value. A sequence, because it is the one pointer
-- that others see moved before the flush that moves it commits.
create sequence staging_slot as int2 minvalue 0 maxvalue 1 start 0 cycle;
select setval('staging_slot', 0, true);
grant select on staging_slot to eaves_ingest;
grant select, usage on sequence staging_slot to eaves_pipeline;

-- One row per ingest transaction whose effects are not in history yet. A batch covers
-- the stream after (previous_sequence, previous_sub) up to (sequence, sub).
create unlogged table staging_batches (
  slot              int2 not null check (slot in (0, 1)),
  stream            text not null,
  shard             text not null,
  consumer          text not null,
  previous_sequence numeric,
  previous_sub      int8,
  sequence          numeric not null,
  sub               int8 not null,
  row_count         int4 not null,
  ingested_at       timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2000);
grant select, insert, delete on staging_batches to eaves_pipeline;

-- Counts that go to ingest_ledger together with the rows they count, so that a batch
-- read again after a crash is counted once.
create unlogged table staging_ledger (
  slot      int2 not null check (slot in (0, 1)),
  stream    text not null,
  shard     text not null,
  minute    timestamptz not null,
  tenant_id int4 not null,
  outcome   text not null,
  reason    text not null,
  count     int8 not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2000);
grant select, insert, delete on staging_ledger to eaves_pipeline;

alter table staging_ledger enable row level security;
alter table staging_ledger force row level security;
create policy pipeline on staging_ledger to eaves_pipeline using (true) with check (true);

-- The life of staging's contents. A crash empties this table together with staging;
-- the next who needs it writes a new one.
create unlogged table staging_epoch (
  only_row bool primary key default true check (only_row),
  epoch    uuid not null default gen_random_uuid()
);
grant select, insert on staging_epoch to eaves_pipeline;
