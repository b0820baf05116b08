-- Losses that nobody has looked at yet: the flush loop tells the number every ten seconds, so
-- that an alarm stays on until an operator has acknowledged them. A count told once, by the
-- process that found a loss, would be lost with that process.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

create function unacknowledged_losses() returns int8
language sql stable security definer
set search_path = public, pg_temp
as $$
  select count(*) from stream_losses l where l.acknowledged_at is null
$$;

revoke execute on function unacknowledged_losses() from public;
grant execute on function unacknowledged_losses() to eaves_flush, eaves_query, eaves_admin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
