-- What is missing between a crash and the end of the replay counts as age (docs/freshness.md): a read of
-- the primary tells it, and a replica's lag has it in it.
set local role eaves_owner;

-- All that was acknowledged before this is in the hot projection, and in staging or history.
-- beat_at is how far replication is; this stands still from a crash until everything is read again.
alter table replication_heartbeat add column complete_at timestamptz;
update replication_heartbeat set complete_at = beat_at;
alter table replication_heartbeat alter column complete_at set not null;

-- Since when nothing waits to be read again in this life of staging. Once set it stays so until the
-- crash that empties the table, so that a read looks at one row and not at all shards.
alter table staging_epoch add column complete_since timestamptz;
grant update (complete_since) on staging_epoch to eaves_pipeline;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Whether values that were acknowledged are in the stream only: staging was lost, or is being read
-- again. A checkpoint that is where its flush is counts as well, until the stream was looked at: a crash
-- may have undone commits that were not on the disk. What an operator wants read again does not count,
-- nor does a shard of which nothing was ever taken.
create function staging_awaits_replay() returns bool
language sql stable security definer
set search_path = public, pg_temp
as $$
  select exists (
    select from ingest_checkpoints c
    where c.consumer not like 'replay-%'
      and coalesce(c.sequence, c.begin_sequence, c.replay_sequence) is not null
      and (c.replay_sequence is not null
           or not exists (select from staging_epoch e where e.epoch = c.epoch))
  )
$$;

-- The same for every read, hence quick. A replica has no staging to look at and goes by complete_at.
create function staging_recovering() returns bool
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
begin
  -- Apart from the next condition: a replica cannot even plan a look at staging.
  if pg_is_in_recovery() then
    return false;
  end if;
  if exists (select from staging_epoch where complete_since is not null) then
    return false;
  end if;
  return staging_awaits_replay();
end
$$;
grant execute on function staging_recovering() to eaves_query, eaves_admin;

-- Whether nothing waits to be read again; the first to find that out notes it.
create function staging_completed() returns bool
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  if staging_recovering() then
    return false;
  end if;
  perform current_epoch();
  update staging_epoch set complete_since = clock_timestamp() where complete_since is null;
  return true;
end
$$;

-- See V27; also says how far everything is complete.
create or replace function heartbeat() returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_complete bool;
  v_sequence int8;
begin
  insert into outages (began_at, ended_at)
  select beat_at, clock_timestamp() from replication_heartbeat
  where beat_at < clock_timestamp() - interval '10 seconds'
  on conflict do nothing;
  delete from outages where ended_at < now() - interval '30 days';
  v_complete := staging_completed();
  update replication_heartbeat
  set beat_at = clock_timestamp(), sequence = sequence + 1,
      complete_at = case when v_complete then clock_timestamp() else complete_at end
  where id = 1
  returning sequence into v_sequence;
  return v_sequence;
end
$$;

-- See V27; history stays as old as it was until all shards were looked at, and what was read again
-- is in it as well: those batches begin later than their values were acknowledged.
create or replace function stage_flush(p_limit int4 default 50000) returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_began timestamptz := clock_timestamp();
  v_moved int8 := 0;
  v_slot  int2;
  v_complete bool;
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

  -- Last, since the row it may change is locked until this commits.
  v_complete := staging_completed();
  update flush_state set
    last_flush_at = now(),
    last_rows = v_moved,
    last_ms = extract(epoch from clock_timestamp() - v_began) * 1000,
    flushes = flushes + 1,
    rows_total = rows_total + v_moved,
    -- A batch committed before this began is moved, or still listed with the start of its
    -- transaction, hence an earlier time.
    history_as_of = case
      when not v_complete
        or exists (select from staging_batches b join staging_epoch e on b.ingested_at < e.complete_since)
        then history_as_of
      else greatest(history_as_of, least(now(), (select min(b.ingested_at) from staging_batches b)))
    end;
  return v_moved;
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
