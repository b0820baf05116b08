-- The write path without its guarantees, for the figure `guarantees_ratio`: no lock on the
-- checkpoint, no epoch, no watermark, no ledger, and a flush that would take a point twice.
-- What is left: staging, the flush, the hot projection, the same indexes.

create unlogged table if not exists bench_positions (
  stream text, shard text, consumer text, sequence numeric, sub int8, primary key (stream, shard, consumer)
);
grant select, insert, update on bench_positions to eaves_pipeline;

create or replace function ingest_begin(p_stream text, p_shard text, p_consumer text)
returns table (sequence text, sub int8, flushed_sequence text, flushed_sub int8,
               epoch_current bool, slot int2, began_at timestamptz,
               replay_sequence text, replay_sub int8, begin_sequence text,
               lost_sequence text, lost_sub int8)
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  return query
  select p.sequence::text, p.sub, null::text, null::int8, true,
         (select last_value::int2 from staging_slot), now(), null::text, null::int8, '0', null::text, null::int8
  from (select) as one_row
  left join bench_positions p
    on p.stream = p_stream and p.shard = p_shard and p.consumer = p_consumer;
end
$$;

create or replace function ingest_begun(p_stream text, p_shard text, p_consumer text, p_begin text,
                                        p_until_sequence text, p_until_sub int8)
returns void language sql as '';

create or replace function ingest_finish(
  p_stream text, p_shard text, p_consumer text, p_slot int2,
  p_previous_sequence text, p_previous_sub int8, p_sequence text, p_sub int8, p_rows int4,
  p_tenants int4[], p_outcomes text[], p_reasons text[], p_counts int8[],
  p_minutes timestamptz[] default null)
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  insert into staging_batches (slot, stream, shard, consumer, sequence, sub, row_count)
  values (p_slot, p_stream, p_shard, p_consumer, p_sequence::numeric, p_sub, p_rows);
  insert into bench_positions values (p_stream, p_shard, p_consumer, p_sequence::numeric, p_sub)
  on conflict (stream, shard, consumer) do update set sequence = excluded.sequence, sub = excluded.sub;
$$;

create or replace function flush_leaf(p_slot int2) returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_leaf text := format('entity_values_ingest_%s', p_slot);
  v_rows int8;
begin
  execute format('lock table %I in exclusive mode', v_leaf);
  perform set_config('work_mem', '64MB', true);
  execute format($sql$
    insert into entity_values_ts (entity_id, observed_at, ingested_at, tenant_id, attribute_id,
      plugin_id, value_bool, value_int, value_float, value_decimal, value_timestamp, value)
    select entity_id, observed_at, ingested_at, tenant_id, attribute_id,
      plugin_id, value_bool, value_int, value_float, value_decimal, value_timestamp, value
    from %I order by tenant_id, entity_id, attribute_id, observed_at
  $sql$, v_leaf);
  with batches as (delete from staging_batches where slot = p_slot returning row_count)
  select coalesce(sum(row_count), 0) into v_rows from batches;
  execute format('truncate table %I', v_leaf);
  return v_rows;
end
$$;
