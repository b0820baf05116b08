-- Tenants, entities, attributes and plugin versions by name. All idempotent and safe to
-- call at the same time with overlapping names.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

create function tenants_by_name(p_names text[])
returns table (tenant_id int4, name text, strict bool)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select t.tenant_id, t.name, t.strict from tenants t where t.name = any (p_names)
$$;

create function tenant_create(p_name text, p_strict bool default false, p_hot_limit int4 default 64)
returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_id int4;
begin
  insert into tenants (name, strict, hot_limit) values (p_name, p_strict, p_hot_limit)
  on conflict (name) do nothing
  returning tenant_id into v_id;
  if v_id is null then
    update tenants set strict = p_strict, hot_limit = p_hot_limit where name = p_name
    returning tenant_id into v_id;
  end if;
  return v_id;
end
$$;

-- Returns a row per given name that is registered now; `ord` counts the input from 1.
-- Registers unknown ones unless the tenant is strict; p_create overrides.
create function register_entities(p_tenant int4, p_ids text[], p_types text[], p_create bool default null)
returns table (ord int4, entity_id int8, entity_type text)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
begin
  if coalesce(p_create, (select not t.strict from tenants t where t.tenant_id = p_tenant)) then
    -- Known names are left out first, so that they use up no identity values; sorted,
    -- so that two callers wait for each other in one order.
    insert into entities (tenant_id, external_id, entity_type)
    select p_tenant, n.id, max(n.type)
    from unnest(p_ids, p_types) as n (id, type)
    where not exists (
      select from entities e where e.tenant_id = p_tenant and e.external_id = n.id
    )
    group by n.id
    order by n.id
    on conflict (tenant_id, external_id) do nothing;

    -- A device may say its type later than its first values.
    update entities e
    set entity_type = n.type, updated_at = now()
    from (select id, max(type) as type from unnest(p_ids, p_types) as u (id, type) group by id order by id) n
    where e.tenant_id = p_tenant and e.external_id = n.id and n.type <> '' and e.entity_type = '';
  end if;

  return query
  select n.ord::int4, e.entity_id, e.entity_type
  from unnest(p_ids) with ordinality as n (id, ord)
  join entities e on e.tenant_id = p_tenant and e.external_id = n.id;
end
$$;

-- The type given is the one an unknown attribute gets; a known one keeps its own.
create function register_attributes(p_tenant int4, p_names text[], p_types text[], p_create bool default null)
returns table (ord int4, attribute_id int4, value_type text, unit text, is_hot bool)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
  v_room int4;
begin
  if coalesce(p_create, (select not t.strict from tenants t where t.tenant_id = p_tenant))
     and exists (
       select from unnest(p_names) as n (name)
       where not exists (
         select from attributes a where a.tenant_id = p_tenant and a.attribute_name = n.name
       )
     )
  then
    -- One registration per tenant at a time, so that hot_limit is kept.
    select hot_limit - (select count(*) from attributes a where a.tenant_id = p_tenant and a.is_hot)
    into v_room
    from tenants t where t.tenant_id = p_tenant
    for no key update;

    insert into attributes (tenant_id, attribute_name, value_type, is_hot)
    select p_tenant, f.name, f.type, row_number() over (order by f.ord) <= v_room
    from (
      select distinct on (n.name) n.name, n.type, n.ord
      from unnest(p_names, p_types) with ordinality as n (name, type, ord)
      where not exists (
        select from attributes a where a.tenant_id = p_tenant and a.attribute_name = n.name
      )
      order by n.name, n.ord
    ) f
    order by f.ord
    on conflict (tenant_id, attribute_name) do nothing;
  end if;

  return query
  select n.ord::int4, a.attribute_id, a.value_type, a.unit, a.is_hot
  from unnest(p_names) with ordinality as n (name, ord)
  join attributes a on a.tenant_id = p_tenant and a.attribute_name = n.name;
end
$$;

create function register_plugin(p_tenant int4, p_name text, p_digest text, p_settings_digest text)
returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_id int4;
begin
  loop
    select plugin_id into v_id from plugin_versions
    where tenant_id = p_tenant and name = p_name and digest = p_digest
      and settings_digest = p_settings_digest;
    exit when found;
    insert into plugin_versions (tenant_id, name, digest, settings_digest)
    values (p_tenant, p_name, p_digest, p_settings_digest)
    on conflict (tenant_id, name, digest, settings_digest) do nothing
    returning plugin_id into v_id;
    exit when found;
  end loop;
  return v_id;
end
$$;

grant execute on function tenants_by_name(text[]) to eaves_ingest, eaves_query, eaves_admin;
grant execute on function tenant_create(text, bool, int4) to eaves_admin;
grant execute on function register_entities(int4, text[], text[], bool) to eaves_ingest, eaves_admin;
grant execute on function register_attributes(int4, text[], text[], bool) to eaves_ingest, eaves_admin;
grant execute on function register_plugin(int4, text, text, text) to eaves_ingest;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
