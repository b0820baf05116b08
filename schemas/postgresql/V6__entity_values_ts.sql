-- History: one row per value, in monthly partitions of observed_at.
--
-- Partitioned by observed_at, not by ingested_at, because a unique index must contain
-- the partition key and a point's identity is (tenant, entity, attribute, observed_at).
set local role eaves_owner;

create table entity_values_ts (
  entity_id       int8 not null,
  observed_at     timestamptz not null,
  ingested_at     timestamptz not null,
  tenant_id       int4 not null,
  attribute_id    int4 not null,
  plugin_id       int4,
  -- Exactly one of the values is set, by the attribute's type.
  value_bool      bool,
  value_int       int8,
  value_float     float8,
  value_decimal   numeric,
  value_timestamp timestamptz,
  value           text,
  -- Makes points unique; serves the history of one attribute of one entity and the
  -- latest value before a time.
  primary key (tenant_id, entity_id, attribute_id, observed_at)
) partition by range (observed_at);

-- Serves queries over all entities of a tenant: one attribute, a time range.
create index entity_values_ts_attribute_time on entity_values_ts (tenant_id, attribute_id, observed_at);
-- Serves "what came in between": nearly free to keep, since rows arrive in this order.
create index entity_values_ts_ingested on entity_values_ts using brin (ingested_at) with (pages_per_range = 32);

alter table entity_values_ts enable row level security;
alter table entity_values_ts force row level security;
create policy tenant_isolation on entity_values_ts for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on entity_values_ts to eaves_pipeline using (true) with check (true);

grant select on entity_values_ts to eaves_query;
grant select, insert, update on entity_values_ts to eaves_pipeline;

-- Four months before now, this one and three ahead, and a default partition, so that
-- a value of any date has a place. pg_partman 5 renamed the arguments of 4.
do $$
declare
  v_major int := (select split_part(extversion, '.', 1)::int from pg_extension where extname = 'pg_partman');
  v_start text := (date_trunc('month', now()) - interval '4 months')::text;
begin
  if v_major >= 5 then
    execute format($sql$
      select partman.create_parent(p_parent_table := 'public.entity_values_ts', p_control := 'observed_at',
        p_interval := '1 month', p_premake := 3, p_start_partition := %L, p_default_table := true)
    $sql$, v_start);
  else
    execute format($sql$
      select partman.create_parent(p_parent_table := 'public.entity_values_ts', p_control := 'observed_at',
        p_type := 'native', p_interval := 'monthly', p_premake := 3, p_start_partition := %L, p_jobmon := false)
    $sql$, v_start);
  end if;
end
$$;

-- Partitions are made ahead of the clock even where no data comes in. History is kept
-- until an operator sets a retention.
update partman.part_config
set infinite_time_partitions = true
where parent_table = 'public.entity_values_ts';

-- Gives every partition what a partitioned table cannot pass on. Row-level security is
-- on without a policy, so a partition read directly shows nothing; it is not forced,
-- because pg_partman moves rows as the owner. History is append-only: vacuum it
-- lazily, at 10 % (the seeds' reasoning).
create function secure_partitions() returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
  v_child record;
begin
  for v_child in
    select c.oid::regclass as name, c.relrowsecurity
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'entity_values_ts'::regclass
      and (not c.relrowsecurity
           or c.reloptions is null
           or not 'autovacuum_vacuum_scale_factor=0.1' = any (c.reloptions))
  loop
    execute format('alter table %s enable row level security', v_child.name);
    execute format('alter table %s set (autovacuum_vacuum_scale_factor = 0.1, '
                   'autovacuum_vacuum_insert_scale_factor = 0.1, '
                   'autovacuum_analyze_scale_factor = 0.1)', v_child.name);
    execute format('revoke all on %s from public', v_child.name);
  end loop;
end
$$;

select secure_partitions();
