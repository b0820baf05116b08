-- Staging to history.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Moves one leaf of staging, all or nothing. Returns the number of staged rows.
create function flush_leaf(p_slot int2) returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_leaf text := format('entity_values_ingest_%s', p_slot);
  v_rows int8;
  -- A point sent twice is one point, and the later one holds. Sorted as the unique index
  -- is, which makes the insertion cheap.
  v_insert text := format($sql$
    insert into entity_values_ts as h (entity_id, observed_at, ingested_at, tenant_id, attribute_id,
      plugin_id, value_bool, value_int, value_float, value_decimal, value_timestamp, value)
    select distinct on (tenant_id, entity_id, attribute_id, observed_at)
      entity_id, observed_at, ingested_at, tenant_id, attribute_id,
      plugin_id, value_bool, value_int, value_float, value_decimal, value_timestamp, value
    from %I
    order by tenant_id, entity_id, attribute_id, observed_at, ingested_at desc, ctid desc
  $sql$, v_leaf);
  v_replace text := $sql$
    on conflict (tenant_id, entity_id, attribute_id, observed_at) do update set
      ingested_at = excluded.ingested_at, plugin_id = excluded.plugin_id,
      value_bool = excluded.value_bool, value_int = excluded.value_int,
      value_float = excluded.value_float, value_decimal = excluded.value_decimal,
      value_timestamp = excluded.value_timestamp, value = excluded.value
    where (h.value_bool, h.value_int, h.value_float, h.value_decimal, h.value_timestamp, h.value)
      is distinct from (excluded.value_bool, excluded.value_int, excluded.value_float,
                        excluded.value_decimal, excluded.value_timestamp, excluded.value)
  $sql$;
  v_careful int4;
  v_backoff int4;
begin
  -- Waits for writers that are in this leaf. Whoever comes later waits for us, and its
  -- rows are moved the next time.
  execute format('lock table %I in exclusive mode', v_leaf);
  -- A leaf of some 100,000 rows is sorted without spilling to disk.
  perform set_config('work_mem', '64MB', true);

  -- ON CONFLICT makes a row a third dearer. Points are nearly always new, so it is first
  -- tried without; where that fails, the next flushes do not try, and more of them each
  -- time it fails again.
  select careful_flushes, careful_backoff into v_careful, v_backoff from flush_state;
  if v_careful > 0 then
    execute v_insert || v_replace;
    update flush_state set careful_flushes = careful_flushes - 1;
  else
    begin
      execute v_insert;
      if v_backoff > 64 then
        update flush_state set careful_backoff = greatest(64, careful_backoff - 1);
      end if;
    exception
      when unique_violation then
        execute v_insert || v_replace;
        update flush_state
        set careful_flushes = v_backoff, careful_backoff = least(4096, v_backoff * 2);
    end;
  end if;

  -- One statement, hence one snapshot: a batch and its counts go together.
  with batches as (
    delete from staging_batches where slot = p_slot returning row_count
  ), counts as (
    delete from staging_ledger where slot = p_slot
    returning minute, tenant_id, stream, shard, outcome, reason, count
  ), added as (
    insert into ingest_ledger as l (minute, tenant_id, stream, shard, outcome, reason, count)
    select minute, tenant_id, stream, shard, outcome, reason, sum(count) from counts
    group by minute, tenant_id, stream, shard, outcome, reason
    on conflict (minute, tenant_id, stream, shard, outcome, reason)
      do update set count = l.count + excluded.count
  )
  select coalesce(sum(row_count), 0) into v_rows from batches;

  -- The position up to which nothing of a shard is staged any more: before its lowest
  -- remaining batch (a late writer may be in this leaf behind a later batch in the
  -- other), or the checkpoint itself. A checkpoint of an earlier epoch says nothing.
  insert into flush_checkpoints as f (stream, shard, consumer, sequence, sub)
  select c.stream, c.shard, c.consumer,
         case when s.staged then s.previous_sequence else c.sequence end,
         case when s.staged then s.previous_sub else c.sub end
  from ingest_checkpoints c
  join staging_epoch e on e.epoch = c.epoch
  left join lateral (
    select true as staged, b.previous_sequence, b.previous_sub
    from staging_batches b
    where b.stream = c.stream and b.shard = c.shard and b.consumer = c.consumer
    order by b.sequence, b.sub
    limit 1
  ) s on true
  where case when s.staged then s.previous_sequence else c.sequence end is not null
  on conflict (stream, shard, consumer) do update set
    sequence = excluded.sequence, sub = excluded.sub, updated_at = now()
  where (f.sequence, f.sub) < (excluded.sequence, excluded.sub);

  -- Readers of the leaf make TRUNCATE wait, and everybody else behind it. Rather than
  -- that, delete; the next flush truncates.
  begin
    perform set_config('lock_timeout', '100ms', true);
    execute format('truncate table %I', v_leaf);
  exception
    when lock_not_available then
      execute format('delete from %I', v_leaf);
  end;
  perform set_config('lock_timeout', '0', true);
  return v_rows;
end
$$;

-- Moves staged rows to history; returns how many, 0 if nothing is staged, null if
-- another flush is at work. A leaf moves whole, since only TRUNCATE keeps staging
-- small; the second leaf follows while fewer than p_limit rows have been moved.
create function stage_flush(p_limit int4 default 50000) returns int8
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
        where c.replay_sequence is not null
           or ((c.sequence, c.sub) is distinct from (f.sequence, f.sub)
               and not exists (select from staging_epoch e where e.epoch = c.epoch))
      ) then history_as_of
      else greatest(history_as_of, least(now(), (select min(b.ingested_at) from staging_batches b)))
    end;
  return v_moved;
end
$$;

-- Commits with the disk, so that a beat on the replica vouches for all before it.
create function heartbeat() returns int8
language sql security definer
set search_path = public, pg_temp
as $$
  update replication_heartbeat set beat_at = clock_timestamp(), sequence = sequence + 1 where id = 1
  returning sequence
$$;

grant execute on function stage_flush(int4) to eaves_flush;
grant execute on function heartbeat() to eaves_flush;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
