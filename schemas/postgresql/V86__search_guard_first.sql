-- The guard of searches (V62, V78) made the whole condition before it looked whether there was anything to guard.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V78: refuses (EV006, the detail is "cost rows") a search whose plan costs more than p_most. An equality of a
-- hot attribute alone is an index's work and is not looked at; what is wrong with it the search itself says.
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
  -- First, because it is the least work of all, and what most searches end with.
  begin
    if p_cold_from is null and search_narrows(v_tenant, p_filter) then
      return;
    end if;
  exception when data_exception then
    null; -- It is no filter, which search_condition() says in its words.
  end;
  v_where := search_condition(v_tenant, p_filter, p_cold_from);
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

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
