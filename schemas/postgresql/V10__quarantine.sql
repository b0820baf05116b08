-- What could not be taken, with its payload and the reason, to be looked at and sent
-- again.
set local role eaves_owner;

create table quarantine (
  quarantine_id int8 generated always as identity primary key,
  -- Null if the record did not say, or named none that exists.
  tenant_id     int4 references tenants,
  kind          text not null check (kind in ('record', 'value')),
  reason        text not null,
  field         text not null,
  message       text not null,
  payload       bytea not null,
  stream        text not null,
  shard         text not null,
  sequence      numeric not null,
  sub           int8 not null,
  -- Counts the refusals within one (sequence, sub).
  item          int4 not null,
  plugin_digest text,
  created_at    timestamptz not null default now(),
  -- A record read again after a crash is the same quarantine row.
  unique (stream, shard, sequence, sub, item)
);

-- Serves the operator's and the tenant's list, newest first; and the foreign key.
create index quarantine_tenant on quarantine (tenant_id, created_at);

alter table quarantine enable row level security;
alter table quarantine force row level security;
create policy tenant_isolation on quarantine for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on quarantine to eaves_pipeline using (true) with check (true);
create policy operator on quarantine for select to eaves_admin using (true);

grant select on quarantine to eaves_query, eaves_admin;
grant select, insert, update on quarantine to eaves_pipeline;
