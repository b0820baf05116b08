-- What a search would cost if it looked at everything that it may have to look at.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Refuses (EV006, the detail is "cost rows") a search whose plan costs more than p_most. Called
-- before search_entities() in the same transaction, so that a refusal keeps the search from being
-- run. The condition is the one that search_entities() uses; the order and the limit are left out,
-- because a condition that hardly anything meets is looked at for everything. An equality of a hot
-- attribute alone is an index's work and is not looked at. Nor is a plan made, which takes as long as
-- a small search, where the hot projection is too small for any search to cost that much.
create function search_guard(p_filter jsonb, p_entity_type text, p_cold_from timestamptz, p_most float8)
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
  select count(*) into v_parts from jsonb_path_query(p_filter, 'strict $.**.attribute');
  if v_bytes / 8192 + v_bytes / 80 * v_parts * (case when p_cold_from is null then 0.05 else 50 end) < p_most then
    return;
  end if;
  execute format($sql$explain (format json) select h.entity_id from entity_jsonb h %s
    where h.tenant_id = $1 and %s$sql$,
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

grant execute on function search_guard(jsonb, text, timestamptz, float8) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
