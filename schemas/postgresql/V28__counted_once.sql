-- A batch's counts reach the ledger no sooner than those of the shard's batches before it.
set local role eaves_owner;
grant update on staging_batches, staging_ledger to eaves_pipeline;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V23, but for the counts that wait. Found by the property test of
-- eaves_model::delivery.
create or replace function flush_leaf(p_slot int2) returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_leaf text := format('entity_values_ingest_%s', p_slot);
  v_rows int8;
  v_held int8;
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
    where excluded.ingested_at >= h.ingested_at
      and ((h.value_bool, h.value_int, h.value_float, h.value_decimal, h.value_timestamp, h.value)
             is distinct from (excluded.value_bool, excluded.value_int, excluded.value_float,
                               excluded.value_decimal, excluded.value_timestamp, excluded.value)
           -- Corrected, and corrected back, since the last flush: readers tell by the time
           -- which corrections have arrived.
           or exists (
             select from entity_value_corrections c
             where c.tenant_id = h.tenant_id and c.entity_id = h.entity_id
               and c.attribute_id = h.attribute_id and c.observed_at = h.observed_at
               and c.superseded_at > h.ingested_at
           ))
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

  -- A writer that waited for this or the other leaf may have left a shard's earlier batch in
  -- the other one. Until that is in history too, a crash has both read again: the later
  -- one's rows would be the same points, but its counts would be counted twice. They wait.
  with held as (
    update staging_batches b set slot = 1 - p_slot, row_count = 0
    from (select ctid, row_count from staging_batches where slot = p_slot) before
    where b.ctid = before.ctid
      and exists (
        select from staging_batches e
        where e.slot = 1 - p_slot and e.stream = b.stream and e.shard = b.shard and e.consumer = b.consumer
          and (e.sequence, e.sub) < (b.sequence, b.sub)
      )
    returning b.stream, b.shard, before.row_count
  ), counts as (
    update staging_ledger l set slot = 1 - p_slot
    where l.slot = p_slot and exists (select from held where held.stream = l.stream and held.shard = l.shard)
  )
  select coalesce(sum(row_count), 0) into v_held from held;

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
  select v_held + coalesce(sum(row_count), 0) into v_rows from batches;

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

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
