-- Entities: devices and assets.
set local role eaves_owner;

create table entities (
  tenant_id   int4 not null references tenants,
  entity_id   int8 not null generated always as identity,
  -- The tenant's own name for it.
  external_id text not null check (char_length(external_id) between 1 and 255),
  entity_type text not null default '' check (char_length(entity_type) <= 255),
  created_at  timestamptz not null default now(),
  updated_at  timestamptz not null default now(),
  -- Serves joins from hot and history rows to names. The tenant comes first in every
  -- key, so that a unique violation can never tell one tenant of another's rows.
  primary key (tenant_id, entity_id),
  -- Serves registration and GET /v1/entities/{external_id}.
  unique (tenant_id, external_id)
);

-- Serves searches for all entities of one type.
create index entities_type on entities (tenant_id, entity_type, entity_id);

alter table entities enable row level security;
alter table entities force row level security;
create policy tenant_isolation on entities for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on entities to eaves_pipeline using (true) with check (true);

grant select on entities to eaves_query;
grant select, insert, update on entities to eaves_pipeline;
