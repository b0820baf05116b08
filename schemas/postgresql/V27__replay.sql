-- Replay: where a shard begins, what a crash took, what the stream no longer had, who
-- asked for what to be read again.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;

-- The first record that the stream kept when the shard was first seen.
alter table ingest_checkpoints add column begin_sequence numeric;
-- Up to here records are known to have been in staging when it was lost. Unlike
-- replay_sequence, which may say "to the end of the shard", it is a record that was taken.
alter table ingest_checkpoints add column lost_sequence numeric;
alter table ingest_checkpoints add column lost_sub int8;
-- Shards from before this migration: what they have taken is all there was.
update ingest_checkpoints set begin_sequence = coalesce(begin_sequence, 0) where sequence is not null;

-- Records that were acknowledged, or may have been sent, and that the stream no longer
-- kept when they were needed. Never silent: counted in a metric, told by health_check()
-- until an operator has looked at them.
create table stream_losses (
  loss_id         int8 generated always as identity primary key,
  stream          text not null,
  shard           text not null,
  consumer        text not null,
  -- The missing range lies between these two, both exclusive. Null: open on that side.
  after_sequence  numeric,
  before_sequence numeric,
  -- certain: records were in staging when a crash emptied it. possible: the platform was
  -- away for longer than the stream keeps records.
  kind            text not null check (kind in ('certain', 'possible')),
  reason          text not null,
  found_at        timestamptz not null default now(),
  acknowledged_at timestamptz,
  acknowledged_by text,
  note            text not null default '',
  -- Found again by a replay that was interrupted.
  unique nulls not distinct (stream, shard, consumer, after_sequence, before_sequence)
);
grant select, insert, update on stream_losses to eaves_pipeline;
grant select on stream_losses to eaves_admin;

-- Times without a heartbeat: by them a loss that is possible is told from a shard to
-- which nobody has written for long.
create table outages (
  began_at timestamptz primary key,
  ended_at timestamptz not null
);
grant select, insert, delete on outages to eaves_pipeline;
grant select on outages to eaves_admin;

-- Ranges of a stream that an operator wants read again. Each is read by a consumer of its
-- own, `replay-<id>`, so that the shard's own checkpoint is not touched.
create table replays (
  replay_id     int8 generated always as identity primary key,
  stream        text not null,
  shard         text not null,
  -- Exclusive; null: from the oldest record that the stream keeps.
  from_sequence numeric,
  -- Inclusive; null: to the end.
  to_sequence   numeric,
  requested_by  text not null,
  requested_at  timestamptz not null default now(),
  finished_at   timestamptz,
  constraint range_goes_forward check (from_sequence < to_sequence)
);
grant select, insert, update on replays to eaves_pipeline;
grant select on replays to eaves_admin;
-- The places of replays that are through.
grant delete on ingest_checkpoints to eaves_pipeline;

set local role eaves_pipeline;

drop function ingest_begin(text, text, text);

-- Locks the shard's checkpoint until the transaction ends and tells all that the
-- caller needs to go on. Sequence numbers travel as text: they have up to 129 digits.
create function ingest_begin(p_stream text, p_shard text, p_consumer text)
returns table (sequence text, sub int8, flushed_sequence text, flushed_sub int8,
               epoch_current bool, slot int2, began_at timestamptz,
               replay_sequence text, replay_sub int8, begin_sequence text,
               lost_sequence text, lost_sub int8)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
  v_epoch uuid := current_epoch();
  v_point ingest_checkpoints;
begin
  -- Staging is unlogged, so waiting for the disk would protect nothing: a commit that a
  -- crash undoes is read from the stream again.
  perform set_config('synchronous_commit', 'off', true);
  loop
    select * into v_point from ingest_checkpoints c
    where c.stream = p_stream and c.shard = p_shard and c.consumer = p_consumer
    for update;
    exit when found;
    -- But for the first of a shard: by its row a crash is noticed later.
    perform set_config('synchronous_commit', 'on', true);
    insert into ingest_checkpoints (stream, shard, consumer, epoch)
    values (p_stream, p_shard, p_consumer, v_epoch)
    on conflict do nothing;
  end loop;
  if v_point.updated_at < now() - interval '1 minute' then
    -- Nor for what begins anew after a pause: a shard whose checkpoint is where its flush is
    -- has then been idle, and records it no longer finds in the stream are not missing.
    perform set_config('synchronous_commit', 'on', true);
  end if;
  return query
  select v_point.sequence::text, v_point.sub, f.sequence::text, f.sub,
         v_point.epoch = v_epoch, (select last_value::int2 from staging_slot), now(),
         v_point.replay_sequence::text, v_point.replay_sub, v_point.begin_sequence::text,
         v_point.lost_sequence::text, v_point.lost_sub
  from (select) as one_row
  left join flush_checkpoints f
    on f.stream = p_stream and f.shard = p_shard and f.consumer = p_consumer;
end
$$;

-- A shard that was not seen before begins with p_begin; p_until is the last record that
-- was acknowledged already, as the caller knows from what comes next. On a promoted
-- replica the row itself may be missing, and then there is something between the two.
create function ingest_begun(p_stream text, p_shard text, p_consumer text, p_begin text,
                             p_until_sequence text, p_until_sub int8)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  perform set_config('synchronous_commit', 'on', true);
  update ingest_checkpoints
  set begin_sequence = p_begin::numeric, updated_at = now(),
      replay_sequence = case when p_begin::numeric <= p_until_sequence::numeric then p_until_sequence::numeric end,
      replay_sub = case when p_begin::numeric <= p_until_sequence::numeric then p_until_sub end
  where stream = p_stream and shard = p_shard and consumer = p_consumer
    and begin_sequence is null and sequence is null;
end
$$;

-- See V16; follows eaves_model::delivery::Checkpoint::rewound.
create or replace function ingest_rewind(p_stream text, p_shard text, p_consumer text,
                                         p_until_sequence text default null, p_until_sub int8 default null)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_epoch   uuid := current_epoch();
  v_point   ingest_checkpoints;
  v_flushed flush_checkpoints;
  v_lost    record;
  v_until   record;
begin
  select * into v_point from ingest_checkpoints
  where stream = p_stream and shard = p_shard and consumer = p_consumer
  for update;
  if not found or v_point.epoch = v_epoch then
    return;
  end if;
  select * into v_flushed from flush_checkpoints
  where stream = p_stream and shard = p_shard and consumer = p_consumer;
  select u.sequence, u.sub into v_lost
  from (values (v_point.sequence, v_point.sub), (v_point.lost_sequence, v_point.lost_sub))
    as u (sequence, sub)
  where u.sequence is not null
    and (v_flushed.sequence is null or (u.sequence, u.sub) > (v_flushed.sequence, v_flushed.sub))
  order by u.sequence desc, u.sub desc
  limit 1;
  -- A replay that was itself interrupted by a crash still goes as far as the first.
  select u.sequence, u.sub into v_until
  from (values (v_lost.sequence, v_lost.sub), (v_point.replay_sequence, v_point.replay_sub),
               (p_until_sequence::numeric, p_until_sub)) as u (sequence, sub)
  where u.sequence is not null
    and (v_flushed.sequence is null or (u.sequence, u.sub) > (v_flushed.sequence, v_flushed.sub))
  order by u.sequence desc, u.sub desc
  limit 1;
  -- A replay that is not noted for sure could itself be lost.
  perform set_config('synchronous_commit', 'on', true);
  update ingest_checkpoints
  set sequence = v_flushed.sequence, sub = v_flushed.sub, epoch = v_epoch, updated_at = now(),
      replay_sequence = v_until.sequence, replay_sub = v_until.sub,
      lost_sequence = v_lost.sequence, lost_sub = v_lost.sub
  where stream = p_stream and shard = p_shard and consumer = p_consumer;
end
$$;

-- See V25; a finished replay also forgets what was lost.
create or replace function ingest_finish(
  p_stream text, p_shard text, p_consumer text, p_slot int2,
  p_previous_sequence text, p_previous_sub int8, p_sequence text, p_sub int8, p_rows int4,
  p_tenants int4[], p_outcomes text[], p_reasons text[], p_counts int8[],
  p_minutes timestamptz[] default null)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  insert into staging_batches (slot, stream, shard, consumer, previous_sequence, previous_sub,
                               sequence, sub, row_count)
  values (p_slot, p_stream, p_shard, p_consumer, p_previous_sequence::numeric, p_previous_sub,
          p_sequence::numeric, p_sub, p_rows);
  insert into staging_ledger (slot, stream, shard, minute, tenant_id, outcome, reason, count)
  select p_slot, p_stream, p_shard, date_trunc('minute', coalesce(l.minute, now())), l.tenant, l.outcome,
         l.reason, l.count
  from unnest(p_tenants, p_outcomes, p_reasons, p_counts, p_minutes)
    as l (tenant, outcome, reason, count, minute);
  update ingest_checkpoints
  set sequence = p_sequence::numeric, sub = p_sub, updated_at = now(),
      replay_sequence = case when (p_sequence::numeric, p_sub) < (replay_sequence, replay_sub) then replay_sequence end,
      replay_sub = case when (p_sequence::numeric, p_sub) < (replay_sequence, replay_sub) then replay_sub end,
      lost_sequence = case when (p_sequence::numeric, p_sub) < (replay_sequence, replay_sub) then lost_sequence end,
      lost_sub = case when (p_sequence::numeric, p_sub) < (replay_sequence, replay_sub) then lost_sub end
  where stream = p_stream and shard = p_shard and consumer = p_consumer;
  if p_consumer like 'replay-%' then
    update replays r set finished_at = now()
    from ingest_checkpoints c
    where r.replay_id = substr(p_consumer, 8)::int8 and r.finished_at is null
      and c.stream = p_stream and c.shard = p_shard and c.consumer = p_consumer and c.replay_sequence is null;
  end if;
end
$$;

-- The stream has nothing more of what was to be read again. p_sequence is where the caller
-- stood when it found that out: somebody else may have set the shard back since.
drop function ingest_end_replay(text, text, text);
create function ingest_end_replay(p_stream text, p_shard text, p_consumer text,
                                  p_sequence text, p_sub int8) returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  update ingest_checkpoints
  set replay_sequence = null, replay_sub = null, lost_sequence = null, lost_sub = null, updated_at = now()
  where stream = p_stream and shard = p_shard and consumer = p_consumer
    and (sequence, sub) is not distinct from (p_sequence::numeric, p_sub)
    and epoch = current_epoch();
  if found and p_consumer like 'replay-%' then
    update replays set finished_at = now() where replay_id = substr(p_consumer, 8)::int8;
  end if;
end
$$;

-- Shards with something to be read again that nobody is reading: those whose staging was
-- lost and to which nothing is delivered, and what an operator asked for.
create function stale_shards(p_idle interval default '1 second')
returns table (stream text, shard text, consumer text)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
  -- What was read again on request and is in history has no place to keep any more.
  delete from ingest_checkpoints c
  using replays r
  where r.finished_at is not null and c.stream = r.stream and c.shard = r.shard
    and c.consumer = 'replay-' || r.replay_id and c.replay_sequence is null
    and (c.sequence is not distinct from r.from_sequence
         or exists (select from flush_checkpoints f
                    where f.stream = c.stream and f.shard = c.shard and f.consumer = c.consumer
                      and (f.sequence, f.sub) = (c.sequence, c.sub)));
  return query
  select c.stream, c.shard, c.consumer
  from ingest_checkpoints c
  where (c.epoch <> current_epoch() or c.replay_sequence is not null)
    and c.updated_at < now() - p_idle
  order by c.updated_at;
end
$$;

-- Notes a missing range once. Returns whether it is new.
create function loss_note(p_stream text, p_shard text, p_consumer text, p_after text, p_before text,
                          p_kind text, p_reason text)
returns bool
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  perform set_config('synchronous_commit', 'on', true);
  insert into stream_losses (stream, shard, consumer, after_sequence, before_sequence, kind, reason)
  values (p_stream, p_shard, p_consumer, p_after::numeric, p_before::numeric, p_kind, p_reason)
  on conflict do nothing;
  return found;
end
$$;

create function loss_acknowledge(p_loss int8, p_by text, p_note text) returns bool
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  update stream_losses set acknowledged_at = now(), acknowledged_by = p_by, note = p_note
  where loss_id = p_loss;
  return found;
end
$$;

-- The longest time without a heartbeat, of those that a shard's last movement did not
-- come after; what is going on now included.
create function longest_outage(p_stream text, p_shard text, p_consumer text) returns float8
language sql stable security definer
set search_path = public, pg_temp
as $$
  select coalesce(extract(epoch from max(o.ended_at - greatest(o.began_at, c.updated_at))), 0)::float8
  from ingest_checkpoints c
  join (
    select began_at, ended_at from outages
    union all
    select beat_at, clock_timestamp() from replication_heartbeat
  ) o on o.ended_at > c.updated_at
  where c.stream = p_stream and c.shard = p_shard and c.consumer = p_consumer
$$;

-- Reads a range of a shard again, as a consumer of its own; the flush loop finds it.
create function replay_request(p_stream text, p_shard text, p_from text, p_to text, p_by text)
returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_id int8;
  -- 129 nines: behind every record that a shard can hold.
  v_end numeric := repeat('9', 129)::numeric;
begin
  if not exists (select from ingest_checkpoints where stream = p_stream and shard = p_shard) then
    raise exception 'nothing was ever read from shard % of stream %', p_shard, p_stream
      using errcode = 'no_data_found';
  end if;
  insert into replays (stream, shard, from_sequence, to_sequence, requested_by)
  values (p_stream, p_shard, p_from::numeric, p_to::numeric, p_by)
  returning replay_id into v_id;
  insert into ingest_checkpoints (stream, shard, consumer, sequence, sub, begin_sequence, epoch,
                                  replay_sequence, replay_sub, updated_at)
  values (p_stream, p_shard, 'replay-' || v_id, p_from::numeric,
          case when p_from is not null then 4294967295 end, 0, current_epoch(),
          coalesce(p_to::numeric, v_end), 4294967295, '-infinity');
  return v_id;
end
$$;

-- Commits with the disk, so that a beat on the replica vouches for all before it. A pause
-- of more than ten seconds between two beats is kept as an outage, for 30 days.
create or replace function heartbeat() returns int8
language sql security definer
set search_path = public, pg_temp
as $$
  insert into outages (began_at, ended_at)
  select beat_at, clock_timestamp() from replication_heartbeat
  where beat_at < clock_timestamp() - interval '10 seconds'
  on conflict do nothing;
  delete from outages where ended_at < now() - interval '30 days';
  update replication_heartbeat set beat_at = clock_timestamp(), sequence = sequence + 1 where id = 1
  returning sequence
$$;

-- See V23; quarantine rows are forgotten by quarantine_replayed (V24), which knows whether
-- somebody has decided about them.
create or replace function points_forget(p_stream text, p_shard text, p_after_sequence text, p_after_sub int8,
                                         p_sequence text, p_sub int8)
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  delete from entity_value_corrections
  where stream = p_stream and shard = p_shard
    and (p_after_sequence is null or (sequence, sub) > (p_after_sequence::numeric, p_after_sub))
    and (sequence, sub) <= (p_sequence::numeric, p_sub);
$$;

-- See V17; what an operator wants read again does not make history any older.
create or replace function stage_flush(p_limit int4 default 50000) returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_began timestamptz := clock_timestamp();
  v_moved int8 := 0;
  v_slot  int2;
begin
  -- With an older snapshot rows would be truncated that were never seen.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'stage_flush needs READ COMMITTED' using errcode = 'invalid_transaction_state';
  end if;
  if not pg_try_advisory_xact_lock(hashtextextended('eaves.stage_flush', 0)) then
    return null;
  end if;
  -- Rows and watermark are lost or kept together, so waiting for the disk adds nothing.
  perform set_config('synchronous_commit', 'off', true);

  for v_pass in 1..2 loop
    select last_value into v_slot from staging_slot;
    if exists (select from staging_batches where slot = v_slot) then
      -- Writers see the other leaf at once, not when this commits.
      perform nextval('staging_slot');
    else
      -- Late writers may have left rows behind.
      v_slot := 1 - v_slot;
      exit when not exists (select from staging_batches where slot = v_slot);
    end if;
    v_moved := v_moved + flush_leaf(v_slot);
    exit when v_moved >= p_limit;
  end loop;

  update flush_state set
    last_flush_at = now(),
    last_rows = v_moved,
    last_ms = extract(epoch from clock_timestamp() - v_began) * 1000,
    flushes = flushes + 1,
    rows_total = rows_total + v_moved,
    -- A batch committed before this began is moved, or still listed with the start of its
    -- transaction, hence an earlier time. Where staging was lost, or is being read again,
    -- history stays as old as it was.
    history_as_of = case
      when exists (
        select from ingest_checkpoints c
        left join flush_checkpoints f using (stream, shard, consumer)
        where c.consumer not like 'replay-%'
          and (c.replay_sequence is not null
           or ((c.sequence, c.sub) is distinct from (f.sequence, f.sub)
               and not exists (select from staging_epoch e where e.epoch = c.epoch)))
      ) then history_as_of
      else greatest(history_as_of, least(now(), (select min(b.ingested_at) from staging_batches b)))
    end;
  return v_moved;
end
$$;

-- See V19; with what the stream no longer kept.
create or replace function health_check() returns jsonb
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_pipeline jsonb := pipeline_status();
  v_lag      jsonb;
  v_losses   jsonb;
  v_problems text[] := '{}';
begin
  select coalesce(jsonb_agg(to_jsonb(r)), '[]') into v_lag from check_replication_lag() r;
  -- The seeds' alarm thresholds.
  if (v_pipeline ->> 'staged_rows')::int8 > 1000000 then
    v_problems := v_problems || 'staging_backlog'::text;
  end if;
  if (v_pipeline ->> 'oldest_staged_seconds')::float8 > 60 then
    v_problems := v_problems || 'flush_stalled'::text;
  end if;
  if exists (select from jsonb_array_elements(v_lag) as r where (r ->> 'lag_seconds')::float8 > 3) then
    v_problems := v_problems || 'replica_lag'::text;
  end if;
  if exists (select from jsonb_array_elements(v_pipeline -> 'shards') as s where (s ->> 'staging_lost')::bool) then
    v_problems := v_problems || 'staging_lost'::text;
  end if;
  -- Until somebody has looked at it (`eaves losses acknowledge`).
  select coalesce(jsonb_agg(jsonb_build_object(
    'loss_id', l.loss_id, 'stream', l.stream, 'shard', l.shard, 'after', l.after_sequence::text,
    'before', l.before_sequence::text, 'kind', l.kind, 'reason', l.reason, 'found_at', l.found_at
  ) order by l.loss_id), '[]')
  into v_losses from stream_losses l where l.acknowledged_at is null;
  if jsonb_array_length(v_losses) > 0 then
    v_problems := v_problems || 'stream_loss'::text;
  end if;
  return jsonb_build_object(
    'status', case when cardinality(v_problems) = 0 then 'ok' else 'degraded' end,
    'problems', to_jsonb(v_problems),
    'role', case when pg_is_in_recovery() then 'replica' else 'primary' end,
    'checked_at', clock_timestamp(),
    'pipeline', v_pipeline,
    'losses', v_losses,
    'replication', v_lag,
    'heartbeat_at', (select beat_at from replication_heartbeat),
    'history_partitions', (select count(*) from pg_inherits where inhparent = 'entity_values_ts'::regclass),
    'database_bytes', pg_database_size(current_database()),
    'connections', (select count(*) from pg_stat_activity where datname = current_database()));
end
$$;

grant execute on function ingest_begin(text, text, text) to eaves_ingest, eaves_flush;
grant execute on function ingest_begun(text, text, text, text, text, int8) to eaves_ingest, eaves_flush;
grant execute on function ingest_end_replay(text, text, text, text, int8) to eaves_ingest, eaves_flush;
grant execute on function stale_shards(interval) to eaves_ingest, eaves_flush;
grant execute on function loss_note(text, text, text, text, text, text, text) to eaves_ingest, eaves_flush;
grant execute on function loss_acknowledge(int8, text, text) to eaves_admin;
grant execute on function longest_outage(text, text, text) to eaves_ingest, eaves_flush;
grant execute on function replay_request(text, text, text, text, text) to eaves_admin;

grant execute on function ingest_tenants(text[]) to eaves_flush;
grant execute on function held_points(int4[], int8[], int4[], timestamptz[]) to eaves_flush;
grant execute on function corrections_add(text, text, timestamptz, int4[], int8[], int4[], timestamptz[],
  timestamptz[], bool[], int8[], float8[], text[], timestamptz[], text[], text[], int8[], int4[]) to eaves_flush;
grant execute on function points_forget(text, text, text, int8, text, int8) to eaves_flush;
grant execute on function register_entities(int4, text[], text[], bool) to eaves_flush;
grant execute on function register_attributes(int4, text[], text[], bool) to eaves_flush;
grant execute on function register_plugin(int4, text, text, text) to eaves_flush;
grant execute on function upsert_hot_batch(int4[], int8[], timestamptz[], timestamptz[], jsonb[], jsonb[])
  to eaves_flush;
grant execute on function ingest_rewind(text, text, text, text, int8) to eaves_flush;
grant execute on function ingest_finish(text, text, text, int2, text, int8, text, int8, int4, int4[], text[],
  text[], int8[], timestamptz[]) to eaves_flush;
grant execute on function quarantine_add(text, text, int4[], text[], text[], text[], text[], bytea[], text[],
  int8[], int4[], text[], int4[], text[], timestamptz[], int8[], int4[]) to eaves_flush;
grant execute on function quarantine_replayed(text, text, text, int8, text, int8, text[], int8[], int4[])
  to eaves_flush;
grant execute on function redrive_check(text, text, int8[], bytea[], text[]) to eaves_flush;
grant execute on function redrive_settle(text, text, int8[], text[], int4[], int4[]) to eaves_flush;

set local role eaves_owner;

-- The flush loop replays idle shards, and for that does what ingest does.
grant insert on entity_values_ingest_0, entity_values_ingest_1 to eaves_flush;
grant select on staging_slot to eaves_flush;
revoke create on schema public from eaves_pipeline;
