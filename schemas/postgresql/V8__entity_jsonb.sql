-- The hot projection: the latest value of every hot attribute, one row per entity.
set local role eaves_owner;

-- Hash partitions by tenant keep the index of a search small: jsonb `@>` is not
-- leakproof, so a search runs in a security definer function with the tenant inside.
create table entity_jsonb (
  tenant_id   int4 not null,
  entity_id   int8 not null,
  -- {"attribute": value}
  hot_attrs   jsonb not null,
  -- {"attribute": observed_at in microseconds since 1970}
  hot_times   jsonb not null,
  -- The newest time in hot_times.
  observed_at timestamptz not null,
  -- No value here was observed before this. A lower bound, not the minimum.
  oldest_at   timestamptz not null,
  -- Grows by one with every change; the cache never replaces a higher one.
  version     int8 not null default 1,
  updated_at  timestamptz not null default now(),
  -- Serves the read of one entity and the upsert.
  primary key (tenant_id, entity_id)
) partition by hash (tenant_id);

-- Rows are rewritten all the time: room on the page, and vacuum at 1 % (the seeds'
-- reasoning).
do $$
begin
  for i in 0..15 loop
    execute format(
      'create table entity_jsonb_p%s partition of entity_jsonb for values with (modulus 16, remainder %s)
       with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02,
             autovacuum_vacuum_cost_delay = 0)', i, i);
    execute format('alter table entity_jsonb_p%s enable row level security', i);
    execute format('alter table entity_jsonb_p%s force row level security', i);
  end loop;
end
$$;

-- Serves find_entities_by_attributes: equality and `in` on hot attributes.
create index entity_jsonb_hot_attrs on entity_jsonb using gin (hot_attrs jsonb_path_ops)
  with (fastupdate = on, gin_pending_list_limit = 16384);

alter table entity_jsonb enable row level security;
alter table entity_jsonb force row level security;
create policy tenant_isolation on entity_jsonb for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on entity_jsonb to eaves_pipeline using (true) with check (true);

grant select on entity_jsonb to eaves_query;
grant select, insert, update on entity_jsonb to eaves_pipeline;
