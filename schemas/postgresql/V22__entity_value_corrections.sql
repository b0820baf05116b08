-- Values that a later one for the same point superseded: for tenants whose point_policy
-- is 'correction'. The value that holds is in entity_values_ts.
set local role eaves_owner;

create table entity_value_corrections (
  tenant_id       int4 not null,
  entity_id       int8 not null,
  attribute_id    int4 not null,
  observed_at     timestamptz not null,
  -- When the superseded value was taken.
  ingested_at     timestamptz not null,
  value_bool      bool,
  value_int       int8,
  value_float     float8,
  value_decimal   numeric,
  value_timestamp timestamptz,
  value           text,
  -- The ingested_at of the value that took its place. A point older than this is not that
  -- value yet (it is staged, or lost with staging and about to be read again).
  superseded_at   timestamptz not null,
  -- The record that brought it, and a count within its (sequence, sub): a record read
  -- again after a crash is the same correction.
  stream          text not null,
  shard           text not null,
  sequence        numeric not null,
  sub             int8 not null,
  item            int4 not null,
  -- Serves the history of one attribute of one entity.
  primary key (tenant_id, entity_id, attribute_id, observed_at, stream, shard, sequence, sub, item)
);

-- Serves points_forget, and "what did this record change".
create index entity_value_corrections_record on entity_value_corrections (stream, shard, sequence, sub);

alter table entity_value_corrections enable row level security;
alter table entity_value_corrections force row level security;
create policy tenant_isolation on entity_value_corrections for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on entity_value_corrections to eaves_pipeline using (true) with check (true);

grant select on entity_value_corrections to eaves_query;
grant select, insert, update, delete on entity_value_corrections to eaves_pipeline;
-- points_forget takes back conflicts that a replay decides otherwise.
grant delete on quarantine to eaves_pipeline;
