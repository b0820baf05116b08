-- Searches with less around them: 1,200 matches of which a page of 100 is shown took 6.0 ms in the database and take
-- 4.5, fifty 1.8 and 1.2 (half a million entities, 10 hot attributes).
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- These make conditions for search_entities(), search_count() and search_guard(), which run as the pipeline with a
-- search path of their own, and for nobody else: neither is set again in each of the dozen calls of a search.
alter function search_comparison(text, text, text, jsonb) reset search_path;
alter function search_cold_comparison(text, text, text, jsonb) reset search_path;
alter function search_range_bound(text) reset search_path;
alter function search_range(int4, text, text, jsonb) security invoker reset search_path;
alter function search_condition(int4, jsonb, timestamptz, int4) security invoker reset search_path;
alter function search_needs_row(int4, jsonb) security invoker reset search_path;
alter function search_source(int4, jsonb) security invoker reset search_path;

-- As in V52: whether GIN narrows the condition down, because an equality of a hot attribute must hold. Of n
-- conditions of which k hold, any n - k + 1 have one that holds. What narrows needs a row of the projection, too
-- (search_needs_row).
create or replace function search_narrows(p_tenant int4, p_filter jsonb)
returns bool
language plpgsql stable
as $$
begin
  -- Most filters are such a comparison, or several that must hold, one of which is: one look at all of them.
  if exists (
    select from jsonb_array_elements(
      case when jsonb_typeof(p_filter -> 'and') = 'array' then p_filter -> 'and' else jsonb_build_array(p_filter) end
    ) as e
    join attributes a on a.tenant_id = p_tenant and a.attribute_name = e ->> 'attribute'
    where e ?| array['eq', 'in'] and a.is_hot and a.value_type <> 'timestamp'
  ) then
    return true;
  end if;
  return case
    when p_filter ? 'and' then
      (select bool_or(search_narrows(p_tenant, e)) from jsonb_array_elements(p_filter -> 'and') as e)
    when p_filter ? 'or' then
      (select bool_and(search_narrows(p_tenant, e)) from jsonb_array_elements(p_filter -> 'or') as e)
    when p_filter ? 'at_least' then
      (select count(*) filter (where search_narrows(p_tenant, e))
              > count(*) - (p_filter #>> '{at_least,k}')::numeric
       from jsonb_array_elements(p_filter #> '{at_least,of}') as e)
    else false
  end;
end
$$;

-- As in V79, but a page's values come from the rows that were compared, and are not looked up.
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
  v_narrows bool;
begin
  if v_tenant is null then
    return;
  end if;
  v_where := case when p_filter is null or p_filter = '{}' then 'true'
                  else search_condition(v_tenant, p_filter, p_cold_from) end;
  v_narrows := search_narrows(v_tenant, p_filter);
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
  -- Where an equality narrows the search, matches are collected first (offset 0): the planner knows
  -- too little of jsonb to be trusted not to walk all of the tenant's entities in order. What the page
  -- shows of them goes along: their rows were read to compare them.
  return query execute format($sql$
    with page as materialized (
      select m.*
      from (
        select h.entity_id, h.version, h.hot_attrs, h.hot_times, %s as k
        from %s h
        where h.tenant_id = $1 and %s and %s
        %s
      ) m %s
      where %s
      order by %s
      limit $4
    )
    select m.entity_id, e.external_id, e.entity_type, m.version, m.hot_attrs::text, m.hot_times::text, m.k::text
    from page m
    join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id
    order by %s
  $sql$, v_key,
         case when v_narrows then 'entity_jsonb' else search_source(v_tenant, p_filter) end,
         v_start, v_where,
         case when v_narrows then 'offset 0' else '' end,
         case when p_entity_type is null and p_sort <> 'external_id' then ''
              else 'join entities e on e.tenant_id = $1 and e.entity_id = m.entity_id' end,
         concat_ws(' and ', case when p_entity_type is not null then 'e.entity_type = $3' end, v_page),
         v_order, v_order)
  using v_tenant, p_after, p_entity_type, least(greatest(p_limit, 1), 1000), p_after_key;
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
