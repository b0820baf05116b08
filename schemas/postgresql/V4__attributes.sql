-- Attributes: names with a fixed type, 10,000 and more per tenant.
set local role eaves_owner;

create table attributes (
  attribute_id   int4 generated always as identity primary key,
  tenant_id      int4 not null references tenants,
  attribute_name text not null check (char_length(attribute_name) between 1 and 255),
  value_type     text not null
    check (value_type in ('string', 'integer', 'float', 'decimal', 'boolean', 'timestamp')),
  unit           text not null default '' check (char_length(unit) <= 64),
  description    text not null default '',
  -- The latest value is kept in entity_jsonb.
  is_hot         bool not null default false,
  created_at     timestamptz not null default now(),
  -- Serves registration, and the name in GET …/history/{attribute}.
  unique (tenant_id, attribute_name)
);

-- Serves the count against tenants.hot_limit.
create index attributes_hot on attributes (tenant_id) where is_hot;

alter table attributes enable row level security;
alter table attributes force row level security;
create policy tenant_isolation on attributes for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on attributes to eaves_pipeline using (true) with check (true);

grant select on attributes to eaves_query;
grant select, insert, update on attributes to eaves_pipeline;
