-- What a consistency token is held against: whether records of the stream are in this server's data.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- ingested: each shard's checkpoint is at the record or behind it, in the current epoch of staging: the hot
-- projection has it, and on the primary staging and history together do. On a replica staging
-- does not exist, nor its epoch; there the checkpoint came with the hot rows of its transaction.
-- flushed: history alone has it.
--
-- A shard that was split or merged keeps its row, so a token of a closed shard is reached when that
-- is read to its end. A shard without a row was never read from: nothing of it is here.
create function positions_reached(p_stream text, p_shards text[], p_sequences text[],
                                  out ingested bool, out flushed bool)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_replica bool := pg_is_in_recovery();
  v_epoch   uuid;
begin
  if not v_replica then
    select e.epoch into v_epoch from staging_epoch e;
  end if;
  -- 4294967295: the whole record, as ingest writes it (eaves_model::Position::whole).
  select coalesce(bool_and(coalesce((c.sequence, c.sub) >= (w.sequence::numeric, 4294967295)
                                    and (v_replica or c.epoch = v_epoch), false)), false),
         coalesce(bool_and(coalesce((f.sequence, f.sub) >= (w.sequence::numeric, 4294967295), false)), false)
  into ingested, flushed
  from unnest(p_shards, p_sequences) as w (shard, sequence)
  left join ingest_checkpoints c on c.stream = p_stream and c.shard = w.shard and c.consumer = 'ingest'
  left join flush_checkpoints f on f.stream = p_stream and f.shard = w.shard and f.consumer = 'ingest';
end
$$;

grant execute on function positions_reached(text, text[], text[]) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
