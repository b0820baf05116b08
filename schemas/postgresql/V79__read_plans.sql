-- What most reads do, with plans that a connection keeps: a statement without a name, which is what a pooler
-- in transaction mode and RDS Proxy can pass on, is planned each time; what a function runs is not. Planning
-- was half of the time of reading one entity.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Begins a read or write of a tenant (null: of none): from here to the end of the transaction rows are the
-- tenant's, and a statement may take p_limit_ms. Answers how far this server is: hot_age and history_age in
-- microseconds (everything acknowledged longer ago is in the hot projection, if the server is a replica or
-- recovering; history holds everything that was committed longer ago), the server's clock in microseconds
-- since 1970, whether it follows another server, and whether it reads again what a crash took.
-- Runs as its caller: it tells nothing that the caller could not read.
create function read_begins(p_tenant int4, p_limit_ms int4,
                            out hot_age_us int8, out history_age_us int8, out at_us int8,
                            out in_recovery bool, out recovering bool)
language plpgsql volatile parallel restricted
as $$
declare
  v_tenant   text := set_config('app.current_tenant_id', coalesce(p_tenant::text, ''), true);
  v_limit    text := set_config('statement_timeout', p_limit_ms::text, true);
  v_complete timestamptz;
  v_history  timestamptz;
  v_now      timestamptz;
begin
  in_recovery := pg_is_in_recovery();
  recovering := not in_recovery and staging_recovering();
  -- Two statements: a join of two tables of one row costs more than both.
  select h.complete_at into v_complete from replication_heartbeat h;
  select f.history_as_of into v_history from flush_state f;
  v_now := clock_timestamp();
  at_us := extract(epoch from v_now) * 1000000;
  hot_age_us := extract(epoch from v_now - v_complete) * 1000000;
  -- Nothing was flushed yet: three centuries, more than any bound.
  history_age_us := case when v_history = '-infinity' then 9000000000000000
                         else extract(epoch from v_now - v_history) * 1000000 end;
end
$$;
grant execute on function read_begins(int4, int4) to eaves_query;

-- The entity that the tenant calls p_external_id, with its hot attributes. Runs as its caller, under
-- row-level security.
create function entity_by_name(p_tenant int4, p_external_id text)
returns table (entity_id int8, external_id text, entity_type text, version int8, hot_attrs text, hot_times text)
language plpgsql stable parallel safe rows 1
-- Estimates take the plan for any tenant to be dearer than one for this, by less than making that costs.
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
    select e.entity_id, e.external_id, e.entity_type, coalesce(j.version, 0),
           coalesce(j.hot_attrs::text, '{}'), coalesce(j.hot_times::text, '{}')
    from entities e
    left join entity_jsonb j on j.tenant_id = e.tenant_id and j.entity_id = e.entity_id
    where e.tenant_id = p_tenant and e.external_id = p_external_id;
end
$$;
grant execute on function entity_by_name(int4, text) to eaves_query;

-- As in V78, but matches that are collected are entities only: what a row holds is looked up for the page.
-- The current tenant's entities that match, in an order: p_sort is 'registered', 'external_id' or
-- 'attribute' (the hot attribute p_attribute; entities without it come last). Of equal ones the
-- one registered first comes first. A page begins after entity p_after (0: the first page), whose
-- sort_key was p_after_key. The tenant comes from app.current_tenant_id and from nowhere else; no
-- tenant set, no rows. Errors are those of search_condition; a key that cannot be one is EV004.
create or replace function search_entities(p_filter jsonb, p_entity_type text, p_cold_from timestamptz, p_sort text,
                                p_attribute text, p_descending bool, p_after int8, p_after_key text,
                                p_limit int4)
returns table (entity_id int8, external_id text, entity_type text, version int8, hot_attrs text,
               hot_times text, sort_key text)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_where  text;
  v_key    text := 'null::text';
  v_type   text := 'text';
  v_kind   text;
  v_hot    bool;
  v_order  text;
  v_page   text;
  v_start  text := 'true';
  v_sign   text := case when p_descending then '<' else '>' end;
  v_dir    text := case when p_descending then 'desc' else 'asc' end;
begin
  if v_tenant is null then
    return;
  end if;
  v_where := case when p_filter is null or p_filter = '{}' then 'true'
                  else search_condition(v_tenant, p_filter, p_cold_from) end;
  if p_sort = 'attribute' then
    select a.value_type, a.is_hot into v_kind, v_hot from attributes a
    where a.tenant_id = v_tenant and a.attribute_name = p_attribute;
    if v_kind is null then
      raise exception 'no such attribute' using errcode = 'EV001', detail = p_attribute;
    elsif not v_hot then
      raise exception 'not a hot attribute' using errcode = 'EV002', detail = p_attribute;
    end if;
    v_type := case v_kind when 'string' then 'text' when 'boolean' then 'bool' when 'timestamp' then 'timestamptz'
                          else 'numeric' end;
    v_key := format('case when h.tenant_id = $1 then (h.hot_attrs ->> %L)::%s end', p_attribute, v_type)
             || case when v_type = 'text' then ' collate "C"' else '' end;
    begin
      execute format('select $1::%s', v_type) using p_after_key;
    exception when data_exception then
      raise exception 'not a sort key' using errcode = 'EV004', detail = 'cursor';
    end;
  end if;
  v_order := case p_sort when 'attribute' then format('m.k %s nulls last, m.entity_id', v_dir)
                         when 'external_id' then format('e.external_id %s', v_dir)
                         else format('m.entity_id %s', v_dir) end;
  if p_after > 0 and p_sort not in ('attribute', 'external_id') then
    v_start := format('h.entity_id %s $2', v_sign);
  end if;
  v_page := case
    when p_after = 0 or p_sort not in ('attribute', 'external_id') then 'true'
    when p_sort = 'external_id' then format('e.external_id %s $5', v_sign)
    when p_after_key is null then 'm.k is null and m.entity_id > $2'
    else format('(m.k %1$s $5::%2$s or (m.k = $5::%2$s and m.entity_id > $2) or m.k is null)', v_sign, v_type)
  end;
  -- Where an equality narrows the search, matches are collected first: the planner knows
  -- too little of jsonb to be trusted not to walk all of the tenant's entities in order.
  -- Names and values are only looked up for the page, unless they say what is on it.
  return query execute format($sql$
    with matches as %s (
      select h.entity_id, %s as k
      from %s h
      where h.tenant_id = $1 and %s and %s
    ), page as materialized (
      select m.*
      from matches m %s
      where %s
      order by %s
      limit $4
    )
    select m.entity_id, e.external_id, e.entity_type, coalesce(j.version, 0), coalesce(j.hot_attrs::text, '{}'),
           coalesce(j.hot_times::text, '{}'), m.k::text
    from page m
    join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id
    left join entity_jsonb j on j.tenant_id = $1 and j.entity_id = m.entity_id
    order by %s
  $sql$, case when search_narrows(v_tenant, p_filter) then 'materialized' else 'not materialized' end,
         v_key,
         search_source(v_tenant, p_filter),
         v_start, v_where,
         case when p_entity_type is null and p_sort <> 'external_id' then ''
              else 'join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id' end,
         concat_ws(' and ', case when p_entity_type is not null then 'e.entity_type = $3' end, v_page),
         v_order, v_order)
  using v_tenant, p_after, p_entity_type, least(greatest(p_limit, 1), 1000), p_after_key;
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
