-- What history surely holds: everything committed before flush_state.history_as_of. A
-- replica has no staging to look at, so this is what a read there knows of the flush.
set local role eaves_owner;

alter table flush_state add column history_as_of timestamptz not null default '-infinity';

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- A batch that was committed before this flush began is either moved or still listed in
-- staging_batches, whose ingested_at is the start of its transaction, hence earlier.
create function note_history_as_of() returns trigger
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  new.history_as_of := least(now(), (select min(b.ingested_at) from staging_batches b));
  return new;
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;

-- Whatever moves staged rows ends by updating flush_state.
create trigger note_history_as_of before update on flush_state
  for each row execute function note_history_as_of();
