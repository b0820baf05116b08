-- The steps of an ingest transaction: ingest_begin, COPY into the leaf it names,
-- upsert_hot_batch, quarantine_add, ingest_finish.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- The current epoch; starts a new one where a crash emptied staging.
create function current_epoch() returns uuid
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_epoch uuid;
begin
  loop
    select epoch into v_epoch from staging_epoch;
    exit when found;
    insert into staging_epoch default values on conflict do nothing;
  end loop;
  return v_epoch;
end
$$;

-- Locks the shard's checkpoint until the transaction ends and tells all that the
-- caller needs to go on. Sequence numbers travel as text: they have up to 129 digits.
create function ingest_begin(p_stream text, p_shard text, p_consumer text)
returns table (sequence text, sub int8, flushed_sequence text, flushed_sub int8,
               epoch_current bool, slot int2, began_at timestamptz,
               replay_sequence text, replay_sub int8)
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
  return query
  select v_point.sequence::text, v_point.sub, f.sequence::text, f.sub,
         v_point.epoch = v_epoch, (select last_value::int2 from staging_slot), now(),
         v_point.replay_sequence::text, v_point.replay_sub
  from (select) as one_row
  left join flush_checkpoints f
    on f.stream = p_stream and f.shard = p_shard and f.consumer = p_consumer;
end
$$;

-- Records the batch and its counts, and moves the checkpoint.
create function ingest_finish(
  p_stream text, p_shard text, p_consumer text, p_slot int2,
  p_previous_sequence text, p_previous_sub int8, p_sequence text, p_sub int8, p_rows int4,
  p_tenants int4[], p_outcomes text[], p_reasons text[], p_counts int8[])
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
  select p_slot, p_stream, p_shard, date_trunc('minute', now()), l.tenant, l.outcome, l.reason, l.count
  from unnest(p_tenants, p_outcomes, p_reasons, p_counts) as l (tenant, outcome, reason, count);
  update ingest_checkpoints
  set sequence = p_sequence::numeric, sub = p_sub, updated_at = now(),
      replay_sequence = case when (p_sequence::numeric, p_sub) < (replay_sequence, replay_sub) then replay_sequence end,
      replay_sub = case when (p_sequence::numeric, p_sub) < (replay_sequence, replay_sub) then replay_sub end
  where stream = p_stream and shard = p_shard and consumer = p_consumer;
end
$$;

-- After staging was lost: sets the shard back to what is in history, in the current
-- epoch, and notes up to where the stream is to be read again before anything newer. That
-- is the checkpoint, and p_until if it is further: commits are asynchronous, so the last
-- that were acknowledged may be missing from the checkpoint too, and only the caller
-- knows what the stream goes on with. Does nothing where the epoch is the current one
-- already, so that two callers cannot set it back twice.
create function ingest_rewind(p_stream text, p_shard text, p_consumer text,
                              p_until_sequence text default null, p_until_sub int8 default null)
returns void
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_epoch   uuid := current_epoch();
  v_point   ingest_checkpoints;
  v_flushed flush_checkpoints;
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
  -- A replay that was itself interrupted by a crash still goes as far as the first.
  select u.sequence, u.sub into v_until
  from (values (v_point.sequence, v_point.sub), (v_point.replay_sequence, v_point.replay_sub),
               (p_until_sequence::numeric, p_until_sub)) as u (sequence, sub)
  where u.sequence is not null
    and (v_flushed.sequence is null or (u.sequence, u.sub) > (v_flushed.sequence, v_flushed.sub))
  order by u.sequence desc, u.sub desc
  limit 1;
  update ingest_checkpoints
  set sequence = v_flushed.sequence, sub = v_flushed.sub, epoch = v_epoch, updated_at = now(),
      replay_sequence = v_until.sequence, replay_sub = v_until.sub
  where stream = p_stream and shard = p_shard and consumer = p_consumer;
end
$$;

-- The stream keeps nothing more of what was to be read again.
create function ingest_end_replay(p_stream text, p_shard text, p_consumer text) returns void
language sql security definer
set search_path = public, pg_temp
as $$
  update ingest_checkpoints set replay_sequence = null, replay_sub = null, updated_at = now()
  where stream = p_stream and shard = p_shard and consumer = p_consumer
$$;

create function quarantine_add(
  p_stream text, p_shard text, p_tenants int4[], p_kinds text[], p_reasons text[], p_fields text[],
  p_messages text[], p_payloads bytea[], p_sequences text[], p_subs int8[], p_items int4[],
  p_plugin_digests text[])
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  insert into quarantine (stream, shard, tenant_id, kind, reason, field, message, payload, sequence,
                          sub, item, plugin_digest)
  select p_stream, p_shard, q.tenant, q.kind, q.reason, q.field, q.message, q.payload,
         q.sequence::numeric, q.sub, q.item, q.plugin_digest
  from unnest(p_tenants, p_kinds, p_reasons, p_fields, p_messages, p_payloads, p_sequences, p_subs,
              p_items, p_plugin_digests)
    as q (tenant, kind, reason, field, message, payload, sequence, sub, item, plugin_digest)
  -- Read again after a crash: what was decided last is what holds.
  on conflict (stream, shard, sequence, sub, item) do update set
    tenant_id = excluded.tenant_id, kind = excluded.kind, reason = excluded.reason,
    field = excluded.field, message = excluded.message, payload = excluded.payload,
    plugin_digest = excluded.plugin_digest
$$;

grant execute on function ingest_begin(text, text, text) to eaves_ingest;
grant execute on function ingest_finish(text, text, text, int2, text, int8, text, int8, int4, int4[], text[],
  text[], int8[]) to eaves_ingest;
grant execute on function ingest_rewind(text, text, text, text, int8) to eaves_ingest;
grant execute on function ingest_end_replay(text, text, text) to eaves_ingest;
grant execute on function quarantine_add(text, text, int4[], text[], text[], text[], text[], bytea[], text[],
  int8[], int4[], text[]) to eaves_ingest;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
