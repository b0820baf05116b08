-- Points whose tenant has another policy than 'replace': what is there already is looked
-- up inside the ingest transaction, so what is staged has been decided, and the flush
-- stays as cheap as it is.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Rows of history by their key: an index probe each, whatever the planner believes of a
-- table that is nearly all in one partition. p_from and p_to span p_times and rule out
-- partitions before the first probe.
create function held_in_history(p_tenants int4[], p_entities int8[], p_attributes int4[], p_times timestamptz[],
                                p_from timestamptz, p_to timestamptz)
returns table (ord int4, ingested_at timestamptz, value_bool bool, value_int int8, value_float float8,
               value_decimal numeric, value_timestamp timestamptz, value text)
language plpgsql security definer
set search_path = public, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_memoize = off
as $$
begin
  return query
  select n.ord::int4, h.ingested_at, h.value_bool, h.value_int, h.value_float, h.value_decimal,
         h.value_timestamp, h.value
  from unnest(p_tenants, p_entities, p_attributes, p_times)
    with ordinality as n (tenant, entity, attribute, observed, ord)
  join entity_values_ts h
    on h.tenant_id = n.tenant and h.entity_id = n.entity and h.attribute_id = n.attribute
   and h.observed_at = n.observed
  where h.observed_at >= p_from and h.observed_at <= p_to;
end
$$;

-- Of the given points those that are staged or in history: every row of each, `ord`
-- counts the input from 1. Until the transaction ends nobody else can ask for these
-- tenants: what is found cannot be overtaken by another shard.
create function held_points(p_tenants int4[], p_entities int8[], p_attributes int4[], p_times timestamptz[])
returns table (ord int4, ingested_at timestamptz, value_bool bool, value_int int8, value_float float8,
               value_decimal numeric, value_timestamp timestamptz, value text)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
  v_ords   int4[];
  v_staged entity_values_ingest[];
begin
  -- In one order for all. A statement of its own: the next ones see what was committed
  -- while this one waited.
  perform pg_advisory_xact_lock(hashtextextended('eaves.points.' || t.tenant, 0))
  from (select distinct tenant from unnest(p_tenants) as u (tenant) order by tenant) t;

  -- Staging before history, in two statements: what a flush moves meanwhile is then seen
  -- at least once (see V20). The lock on the leaves would last until commit and make the
  -- flush's TRUNCATE wait; rolled back to a savepoint it is gone at once.
  begin
    select array_agg(n.ord::int4 order by s.ingested_at, s.ctid), array_agg(s order by s.ingested_at, s.ctid)
    into v_ords, v_staged
    from entity_values_ingest s
    join unnest(p_tenants, p_entities, p_attributes, p_times)
      with ordinality as n (tenant, entity, attribute, observed, ord)
      on s.tenant_id = n.tenant and s.entity_id = n.entity and s.attribute_id = n.attribute
     and s.observed_at = n.observed;
    raise exception using errcode = 'EV900';
  exception
    when sqlstate 'EV900' then null;
  end;

  return query
  select u.ord, u.ingested_at, u.value_bool, u.value_int, u.value_float, u.value_decimal, u.value_timestamp, u.value
  from (
    -- Of a batch that staged a point more than once (before its tenant's policy changed)
    -- the last one, as the flush takes it.
    select distinct on (s.ord, s.ingested_at) s.*
    from (
      select v_ords[i] as ord, (v_staged[i]).*, i
      from generate_subscripts(v_ords, 1) as i
    ) s
    order by s.ord, s.ingested_at, s.i desc
  ) u;
  return query
  select h.* from held_in_history(p_tenants, p_entities, p_attributes, p_times,
    (select min(t) from unnest(p_times) as u (t)), (select max(t) from unnest(p_times) as u (t))) h;
end
$$;

-- Keeps superseded values. A record read again decides anew.
create function corrections_add(
  p_stream text, p_shard text, p_superseded_at timestamptz,
  p_tenants int4[], p_entities int8[], p_attributes int4[], p_times timestamptz[], p_ingested timestamptz[],
  p_bools bool[], p_ints int8[], p_floats float8[], p_decimals text[], p_timestamps timestamptz[], p_texts text[],
  p_sequences text[], p_subs int8[], p_items int4[])
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  insert into entity_value_corrections (
    tenant_id, entity_id, attribute_id, observed_at, ingested_at, value_bool, value_int, value_float,
    value_decimal, value_timestamp, value, superseded_at, stream, shard, sequence, sub, item)
  select c.tenant, c.entity, c.attribute, c.observed, coalesce(c.ingested, p_superseded_at), c.b, c.i, c.f,
         c.d::numeric, c.t, c.s, p_superseded_at, p_stream, p_shard, c.sequence::numeric, c.sub, c.item
  from unnest(p_tenants, p_entities, p_attributes, p_times, p_ingested, p_bools, p_ints, p_floats, p_decimals,
              p_timestamps, p_texts, p_sequences, p_subs, p_items)
    as c (tenant, entity, attribute, observed, ingested, b, i, f, d, t, s, sequence, sub, item)
  on conflict (tenant_id, entity_id, attribute_id, observed_at, stream, shard, sequence, sub, item) do update set
    ingested_at = excluded.ingested_at, superseded_at = excluded.superseded_at,
    value_bool = excluded.value_bool, value_int = excluded.value_int, value_float = excluded.value_float,
    value_decimal = excluded.value_decimal, value_timestamp = excluded.value_timestamp, value = excluded.value
$$;

-- Before records are read again: takes back what was decided of them when they were first
-- read. Another shard's may come before them this time, and the other value win.
create function points_forget(p_stream text, p_shard text, p_after_sequence text, p_after_sub int8,
                              p_sequence text, p_sub int8)
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  delete from entity_value_corrections
  where stream = p_stream and shard = p_shard
    and (p_after_sequence is null or (sequence, sub) > (p_after_sequence::numeric, p_after_sub))
    and (sequence, sub) <= (p_sequence::numeric, p_sub);
  delete from quarantine
  where stream = p_stream and shard = p_shard and reason = 'point_conflict'
    and (p_after_sequence is null or (sequence, sub) > (p_after_sequence::numeric, p_after_sub))
    and (sequence, sub) <= (p_sequence::numeric, p_sub);
$$;

-- As in V17, but for the conditions of v_replace: of two values for a point the one
-- that was taken later holds, also where its leaf was flushed first. (A writer that waits
-- for a leaf the flush has locked lands behind later batches in the other leaf.)
create or replace function flush_leaf(p_slot int2) returns int8
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

grant execute on function held_points(int4[], int8[], int4[], timestamptz[]) to eaves_ingest;
grant execute on function corrections_add(text, text, timestamptz, int4[], int8[], int4[], timestamptz[],
  timestamptz[], bool[], int8[], float8[], text[], timestamptz[], text[], text[], int8[], int4[]) to eaves_ingest;
grant execute on function points_forget(text, text, text, int8, text, int8) to eaves_ingest;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
