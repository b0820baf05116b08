-- The ledger counts in one unit, the piece, by the minute in which the stream took the
-- record: that minute is the record's own, so it is the same when the record is read again,
-- and a reader of the stream can count the same records. docs/audit.md has the equation.
set local role eaves_owner;

comment on table ingest_ledger is
  'Pieces (values; 1 for what cannot be decoded) by outcome and the minute of arrival in the stream: '
  'received = accepted + rejected + quarantined + duplicate. Beside the equation: derived and '
  'derived_rejected (values that plugins add), redelivered (records that were delivered again)';
alter table ingest_ledger
  drop constraint if exists ingest_ledger_outcome_check,
  add constraint ingest_ledger_outcome_check check (outcome ~ '^[a-z_]{1,40}$');

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V16; a line may have a minute of its own.
drop function ingest_finish(text, text, text, int2, text, int8, text, int8, int4, int4[], text[], text[], int8[]);

create function ingest_finish(
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
      replay_sub = case when (p_sequence::numeric, p_sub) < (replay_sequence, replay_sub) then replay_sub end
  where stream = p_stream and shard = p_shard and consumer = p_consumer;
end
$$;

grant execute on function ingest_finish(text, text, text, int2, text, int8, text, int8, int4, int4[], text[],
  text[], int8[], timestamptz[]) to eaves_ingest;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
