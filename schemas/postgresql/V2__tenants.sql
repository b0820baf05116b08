-- Tenants: the unit of isolation.
set local role eaves_owner;

create table tenants (
  tenant_id  int4 generated always as identity primary key,
  name       text not null unique check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  -- Entities and attributes must be registered before values are taken.
  strict     bool not null default false,
  -- How many attributes become hot by themselves, in the order they are first seen.
  hot_limit  int4 not null default 64 check (hot_limit between 0 and 1000),
  settings   jsonb not null default '{}',
  created_at timestamptz not null default now()
);

alter table tenants enable row level security;
alter table tenants force row level security;
-- `current_setting` gives '' after a transaction that had set it, hence nullif. The
-- subquery is computed once a statement, not once a row.
create policy tenant_isolation on tenants for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on tenants to eaves_pipeline using (true) with check (true);
create policy operator on tenants for select to eaves_admin using (true);

grant select on tenants to eaves_query, eaves_admin;
grant select, insert, update on tenants to eaves_pipeline;
