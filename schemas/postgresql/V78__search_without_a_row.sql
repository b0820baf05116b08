-- A search finds entities, too, of which nothing hot was ever written: they have no row in the hot
-- projection, and can meet a condition on a cold attribute, or that something is not there.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Whether only an entity with a row in the hot projection can meet the condition. Of n conditions of
-- which k hold, any n - k + 1 have one that holds.
create function search_needs_row(p_tenant int4, p_filter jsonb)
returns bool
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
begin
  return case
    when p_filter is null or p_filter = '{}' then false
    when p_filter ? 'and' then
      (select bool_or(search_needs_row(p_tenant, e)) from jsonb_array_elements(p_filter -> 'and') as e)
    when p_filter ? 'or' then
      (select bool_and(search_needs_row(p_tenant, e)) from jsonb_array_elements(p_filter -> 'or') as e)
    when p_filter ? 'not' then false
    when p_filter ? 'at_least' then
      (select count(*) filter (where search_needs_row(p_tenant, e))
              > count(*) - (p_filter #>> '{at_least,k}')::numeric
       from jsonb_array_elements(p_filter #> '{at_least,of}') as e)
    when not exists (
      select from attributes a
      where a.tenant_id = p_tenant and a.attribute_name = p_filter ->> 'attribute' and a.is_hot) then false
    else (p_filter - array['attribute', 'exists']) <> '{}' or p_filter -> 'exists' = 'true'
  end;
end
$$;

-- What a search by this filter goes through, as h: the hot projection, or every entity with what there is of it
-- in the projection.
create function search_source(p_tenant int4, p_filter jsonb)
returns text
language sql stable security definer
set search_path = public, pg_temp
as $$
  select case when search_needs_row(p_tenant, p_filter) then 'entity_jsonb' else $rows$(
    select r.tenant_id, r.entity_id, coalesce(j.hot_attrs, '{}') as hot_attrs,
           coalesce(j.hot_times, '{}') as hot_times, coalesce(j.version, 0) as version, j.range_names
    from entities r left join entity_jsonb j on j.tenant_id = r.tenant_id and j.entity_id = r.entity_id
  )$rows$ end
$$;

-- As in V62, over the rows that the search goes through. Refuses (EV006, the detail is "cost rows") a search whose plan costs more than p_most. Called
-- before search_entities() in the same transaction, so that a refusal keeps the search from being
-- run. The condition is the one that search_entities() uses; the order and the limit are left out,
-- because a condition that hardly anything meets is looked at for everything. An equality of a hot
-- attribute alone is an index's work and is not looked at. Nor is a plan made, which takes as long as
-- a small search, where the hot projection is too small for any search to cost that much.
create or replace function search_guard(p_filter jsonb, p_entity_type text, p_cold_from timestamptz, p_most float8)
returns void
-- Volatile, as EXPLAIN wants it.
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_where  text;
  v_plan   jsonb;
  v_bytes  int8;
  v_parts  int8;
begin
  if v_tenant is null or p_filter is null or p_filter = '{}' then
    return;
  end if;
  v_where := search_condition(v_tenant, p_filter, p_cold_from);
  if p_cold_from is null and search_narrows(v_tenant, p_filter) then
    return;
  end if;
  -- A row has 80 bytes at least. Looking an attribute up in the parts of history costs some 50 at
  -- most, comparing one of the row's own far less.
  select sum(pg_relation_size(i.inhrelid)) into v_bytes from pg_inherits i
  where i.inhparent = 'entity_jsonb'::regclass;
  if not search_needs_row(v_tenant, p_filter) then
    -- All entities then, whose rows have 40 bytes at least.
    v_bytes := v_bytes + 2 * pg_relation_size('entities');
  end if;
  select count(*) into v_parts from jsonb_path_query(p_filter, 'strict $.**.attribute');
  if v_bytes / 8192 + v_bytes / 80 * v_parts * (case when p_cold_from is null then 0.05 else 50 end) < p_most then
    return;
  end if;
  execute format($sql$explain (format json) select h.entity_id from %s h %s
    where h.tenant_id = $1 and %s$sql$,
    search_source(v_tenant, p_filter),
    case when p_entity_type is null then '' else
      'join entities e on e.tenant_id = $1 and e.entity_id = h.entity_id and e.entity_type = $2' end, v_where)
  into v_plan using v_tenant, p_entity_type;
  v_plan := v_plan #> '{0,Plan}';
  if (v_plan ->> 'Total Cost')::float8 > p_most then
    raise exception 'the search would cost too much' using errcode = 'EV006',
      detail = round((v_plan ->> 'Total Cost')::numeric) || ' ' || (
        select max((n ->> 'Plan Rows')::numeric) from jsonb_path_query(v_plan, 'strict $.**') as n
        where jsonb_typeof(n) = 'object' and n ? 'Plan Rows');
  end if;
end
$$;

-- As in V52, and entities are found that nothing hot was written of; what is not on the page costs less.
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
  -- Names and texts are only made for the page, unless they say what is on it.
  return query execute format($sql$
    with matches as %s (
      select h.entity_id, h.hot_attrs, h.hot_times, h.version, %s as k
      from %s h
      where h.tenant_id = $1 and %s and %s
    ), page as materialized (
      select m.*
      from matches m %s
      where %s
      order by %s
      limit $4
    )
    select m.entity_id, e.external_id, e.entity_type, m.version, m.hot_attrs::text, m.hot_times::text,
           m.k::text
    from page m
    join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id
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
