-- Live statistics of attributes: what is written and what queries ask for, per period of
-- twelve hours. The last two periods are kept.
--
-- Ingest and queries add rows to staging_attribute_statistics and never wait for each other;
-- the flush function folds them into the tables every few seconds. They are estimates: staging
-- is unlogged, and what was not folded when the database crashed is lost, what is read again
-- from the stream then may be counted twice.
set local role eaves_owner;

create unlogged table staging_attribute_statistics (
  tenant_id       int4 not null,
  attribute_id    int4 not null,
  -- Number of the period since 1970; see eaves_model::usage::PERIOD_SECONDS.
  period          int4 not null,
  "values"        int8 not null default 0,
  bytes           int8 not null default 0,
  compared        int8 not null default 0,
  changed         int8 not null default 0,
  queries         int8 not null default 0,
  filters         int8 not null default 0,
  returns         int8 not null default 0,
  query_us        int8 not null default 0,
  -- Registers that grew, two bytes each: index << 6 | rank.
  entities        bytea not null default '',
  distinct_values bytea not null default '',
  added_at        timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2000);

alter table staging_attribute_statistics enable row level security;
alter table staging_attribute_statistics force row level security;
create policy pipeline on staging_attribute_statistics to eaves_pipeline using (true) with check (true);
grant select, insert, delete on staging_attribute_statistics to eaves_pipeline;

-- Rewritten every few seconds while the attribute is written: narrow, with room on the page,
-- and no index but the key, so that updates stay on their page.
create table attribute_statistics (
  tenant_id       int4 not null,
  attribute_id    int4 not null,
  period          int4 not null,
  -- Values written; their size; those that were compared with the one before, and changed it.
  "values"        int8 not null,
  bytes           int8 not null,
  compared        int8 not null,
  changed         int8 not null,
  -- Queries that name the attribute: to filter by it, to have it returned; their time in all.
  queries         int8 not null,
  filters         int8 not null,
  returns         int8 not null,
  query_us        int8 not null,
  last_written_at timestamptz,
  -- Serves the addition, and the tenant's read.
  primary key (tenant_id, attribute_id, period)
) with (fillfactor = 50);

-- HyperLogLog registers (eaves_model::sketch). A table of its own: after the first minutes of a
-- period registers hardly grow any more.
create table attribute_sketches (
  tenant_id       int4 not null,
  attribute_id    int4 not null,
  period          int4 not null,
  entities        bytea not null,
  distinct_values bytea not null,
  primary key (tenant_id, attribute_id, period)
);

alter table attribute_statistics enable row level security;
alter table attribute_statistics force row level security;
create policy tenant_isolation on attribute_statistics for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on attribute_statistics to eaves_pipeline using (true) with check (true);
alter table attribute_sketches enable row level security;
alter table attribute_sketches force row level security;
create policy tenant_isolation on attribute_sketches for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on attribute_sketches to eaves_pipeline using (true) with check (true);
grant select on attribute_statistics, attribute_sketches to eaves_query;
grant select, insert, update, delete on attribute_statistics, attribute_sketches to eaves_pipeline;

-- Since when there are statistics: rates before that would be too low.
create table attribute_statistics_state (
  only_row bool primary key default true check (only_row),
  began_at timestamptz not null default now(),
  folded_at timestamptz not null default now()
) with (fillfactor = 50);
insert into attribute_statistics_state default values;
grant select, update on attribute_statistics_state to eaves_pipeline;
grant select on attribute_statistics_state to eaves_query;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

create function statistics_period(p_at timestamptz) returns int4
language sql immutable parallel safe
set search_path = public, pg_temp
as $$
  select (floor(extract(epoch from p_at) / 43200))::int4
$$;

-- What a batch adds, as arrays of one length: one row per attribute.
create function statistics_add_writes(p_tenants int4[], p_attributes int4[], p_period int4, p_values int8[],
                                      p_bytes int8[], p_compared int8[], p_changed int8[],
                                      p_entities bytea[], p_distinct_values bytea[])
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  insert into staging_attribute_statistics (tenant_id, attribute_id, period, "values", bytes, compared, changed,
                                            entities, distinct_values)
  select s.tenant, s.attribute, p_period, s.n, s.bytes, s.compared, s.changed, s.entities, s.distinct_values
  from unnest(p_tenants, p_attributes, p_values, p_bytes, p_compared, p_changed, p_entities, p_distinct_values)
    as s (tenant, attribute, n, bytes, compared, changed, entities, distinct_values)
$$;

-- What queries of the current tenant add. Names that are no attribute count for nothing.
create function statistics_add_queries(p_names text[], p_queries int8[], p_filters int8[], p_returns int8[],
                                       p_query_us int8[])
returns void
language sql security definer
set search_path = public, pg_temp
as $$
  insert into staging_attribute_statistics (tenant_id, attribute_id, period, queries, filters, returns, query_us)
  select a.tenant_id, a.attribute_id, statistics_period(now()), s.queries, s.filters, s.returns, s.query_us
  from unnest(p_names, p_queries, p_filters, p_returns, p_query_us)
    as s (name, queries, filters, returns, query_us)
  join attributes a on a.attribute_name = s.name
    and a.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
$$;

-- Registers with those that grew; null: none yet.
create function sketch_grow(p_registers bytea, p_grown bytea) returns bytea
language plpgsql immutable parallel safe
set search_path = public, pg_temp
as $$
declare
  v_registers bytea := coalesce(p_registers, decode(repeat('00', 1024), 'hex'));
  v_word      int4;
begin
  for i in 0 .. length(p_grown) / 2 - 1 loop
    v_word := get_byte(p_grown, 2 * i) * 256 + get_byte(p_grown, 2 * i + 1);
    if get_byte(v_registers, v_word >> 6) < (v_word & 63) then
      v_registers := set_byte(v_registers, v_word >> 6, v_word & 63);
    end if;
  end loop;
  return v_registers;
end
$$;

-- Moves what was added to the tables, and forgets periods before the last two. Returns how many
-- rows were folded; 0 also where somebody else is at it.
create function statistics_fold() returns int8
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_period int4 := statistics_period(now());
  v_rows   int8;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('eaves.statistics_fold', 0)) then
    return 0;
  end if;
  perform set_config('synchronous_commit', 'off', true);
  with taken as (
    delete from staging_attribute_statistics returning *
  ), counted as (
    insert into attribute_statistics as s (tenant_id, attribute_id, period, "values", bytes, compared, changed,
                                           queries, filters, returns, query_us, last_written_at)
    select tenant_id, attribute_id, period, sum("values"), sum(bytes), sum(compared), sum(changed), sum(queries),
           sum(filters), sum(returns), sum(query_us), max(added_at) filter (where "values" > 0)
    from taken
    group by tenant_id, attribute_id, period
    on conflict (tenant_id, attribute_id, period) do update set
      "values" = s."values" + excluded."values", bytes = s.bytes + excluded.bytes,
      compared = s.compared + excluded.compared, changed = s.changed + excluded.changed,
      queries = s.queries + excluded.queries, filters = s.filters + excluded.filters,
      returns = s.returns + excluded.returns, query_us = s.query_us + excluded.query_us,
      last_written_at = greatest(s.last_written_at, excluded.last_written_at)
  ), sketched as (
    -- Nobody else writes these rows, so what is read here still holds when it is written.
    insert into attribute_sketches as k (tenant_id, attribute_id, period, entities, distinct_values)
    select g.tenant_id, g.attribute_id, g.period, sketch_grow(o.entities, g.entities),
           sketch_grow(o.distinct_values, g.distinct_values)
    from (
      select tenant_id, attribute_id, period, string_agg(entities, '') as entities,
             string_agg(distinct_values, '') as distinct_values
      from taken where entities <> '' or distinct_values <> ''
      group by tenant_id, attribute_id, period
    ) g
    left join attribute_sketches o
      on o.tenant_id = g.tenant_id and o.attribute_id = g.attribute_id and o.period = g.period
    on conflict (tenant_id, attribute_id, period) do update set
      entities = excluded.entities, distinct_values = excluded.distinct_values
  )
  select count(*) into v_rows from taken;

  -- Once a period, when the first fold in it finds the last one to be of another.
  if statistics_period((select folded_at from attribute_statistics_state)) < v_period then
    delete from attribute_statistics where period < v_period - 1;
    delete from attribute_sketches where period < v_period - 1;
  end if;
  update attribute_statistics_state set folded_at = now();
  return v_rows;
end
$$;

grant execute on function statistics_add_writes(int4[], int4[], int4, int8[], int8[], int8[], int8[], bytea[], bytea[])
  to eaves_ingest, eaves_flush;
grant execute on function statistics_add_queries(text[], int8[], int8[], int8[], int8[]) to eaves_query;
grant execute on function statistics_fold() to eaves_flush;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
