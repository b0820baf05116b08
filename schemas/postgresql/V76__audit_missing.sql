-- `eaves audit` looks its points up one by one, by the key, on tables that nobody ever analysed, too:
-- there a join was planned as a scan of history for each of a thousand points.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

create or replace function audit_missing(
  p_tenants int4[], p_entities text[], p_attributes text[], p_times timestamptz[]
)
returns table (ord int4)
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
  v_staged int8[];
begin
  select coalesce(array_agg(k.ord), '{}') into v_staged
  from unnest(p_tenants, p_entities, p_attributes, p_times) with ordinality
    as k (tenant_id, entity, attribute, observed_at, ord)
  join entities e on e.tenant_id = k.tenant_id and e.external_id = k.entity
  join attributes a on a.tenant_id = k.tenant_id and a.attribute_name = k.attribute
  where (k.tenant_id, e.entity_id, a.attribute_id, k.observed_at) in (
    select s.tenant_id, s.entity_id, s.attribute_id, s.observed_at from entity_values_ingest s
  );
  return query
  select k.ord::int4
  from unnest(p_tenants, p_entities, p_attributes, p_times) with ordinality
    as k (tenant_id, entity, attribute, observed_at, ord)
  left join entities e on e.tenant_id = k.tenant_id and e.external_id = k.entity
  left join attributes a on a.tenant_id = k.tenant_id and a.attribute_name = k.attribute
  -- The limit keeps it one look into the index for each point.
  left join lateral (
    select true as there from entity_values_ts h
    where h.tenant_id = k.tenant_id and h.entity_id = e.entity_id
      and h.attribute_id = a.attribute_id and h.observed_at = k.observed_at
    limit 1
  ) h on true
  where h.there is null and not k.ord = any (v_staged);
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
