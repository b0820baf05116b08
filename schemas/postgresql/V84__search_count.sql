-- How many entities a search finds, beside the page of them that is shown.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- The current tenant's entities that match, with the condition that search_entities() uses; counting ends at p_most.
create function search_count(p_filter jsonb, p_entity_type text, p_cold_from timestamptz, p_most int8)
returns int8
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_tenant int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_where  text;
  v_count  int8;
begin
  if v_tenant is null then
    return 0;
  end if;
  v_where := case when p_filter is null or p_filter = '{}' then 'true'
                  else search_condition(v_tenant, p_filter, p_cold_from) end;
  execute format('select count(*) from (select from %s h %s where h.tenant_id = $1 and %s limit $3) m',
                 search_source(v_tenant, p_filter),
                 case when p_entity_type is null then '' else
                   'join entities e on e.tenant_id = $1 and e.entity_id = h.entity_id and e.entity_type = $2' end,
                 v_where)
  into v_count using v_tenant, p_entity_type, p_most;
  return v_count;
end
$$;
grant execute on function search_count(jsonb, text, timestamptz, int8) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
