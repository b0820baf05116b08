-- Attributes that become hot, or cease to be, after they were registered.
--
-- One that becomes hot is *filling* first: ingest writes it into the projection, and what history
-- has is added part by part. Until that is through no query sees it there. One that ceases to be
-- hot is hidden from queries at once, and its values are taken out of the rows part by part.
set local role eaves_owner;

alter table attributes
  add column hot_filling bool not null default false,
  add constraint filling_is_not_hot_yet check (not (hot_filling and is_hot));

-- Every change with who wanted it and why, and how far it is.
create table hot_changes (
  change_id    int8 not null generated always as identity,
  tenant_id    int4 not null references tenants,
  attribute_id int4 not null,
  change       text not null check (change in ('promote', 'demote')),
  requested_at timestamptz not null default now(),
  requested_by text not null check (char_length(requested_by) <= 255),
  reason       text not null default '' check (char_length(reason) <= 1000),
  -- The last entity that is through; moves in the transaction that changes the rows.
  position     int8 not null default 0,
  entities     int8 not null default 0,
  rows_changed int8 not null default 0,
  -- Entities of the tenant when it began.
  of_entities  int8,
  started_at   timestamptz,
  finished_at  timestamptz,
  -- Another change of the attribute took its place.
  cancelled_at timestamptz,
  primary key (tenant_id, change_id)
) with (fillfactor = 70);

-- At most one change of an attribute is under way; serves the search for the next step.
create unique index hot_changes_open on hot_changes (tenant_id, attribute_id)
  where finished_at is null and cancelled_at is null;

alter table hot_changes enable row level security;
alter table hot_changes force row level security;
create policy tenant_isolation on hot_changes for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on hot_changes to eaves_pipeline using (true) with check (true);
grant select on hot_changes to eaves_query;
grant select, insert, update on hot_changes to eaves_pipeline;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V14; what is filling is written into the projection too.
create or replace function register_attributes(p_tenant int4, p_names text[], p_types text[], p_create bool default null)
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
    select hot_limit - (select count(*) from attributes a where a.tenant_id = p_tenant and (a.is_hot or a.hot_filling))
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
  select n.ord::int4, a.attribute_id, a.value_type, a.unit, a.is_hot or a.hot_filling
  from unnest(p_names) with ordinality as n (name, ord)
  join attributes a on a.tenant_id = p_tenant and a.attribute_name = n.name;
end
$$;

-- Makes an attribute hot, or ends that. Returns what it is then: hot, filling or cold; null if
-- the tenant has no such attribute. Asking again for what is under way changes nothing.
create function hot_request(p_tenant int4, p_name text, p_hot bool, p_by text, p_reason text) returns text
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_attribute attributes;
begin
  -- The change first and then the attribute, as hot_step does.
  perform from hot_changes c
  join attributes a on a.tenant_id = c.tenant_id and a.attribute_id = c.attribute_id
  where a.tenant_id = p_tenant and a.attribute_name = p_name and c.finished_at is null and c.cancelled_at is null
  for update of c;
  select * into v_attribute from attributes a
  where a.tenant_id = p_tenant and a.attribute_name = p_name
  for no key update;
  if not found then
    return null;
  end if;
  if p_hot and not (v_attribute.is_hot or v_attribute.hot_filling)
     or not p_hot and (v_attribute.is_hot or v_attribute.hot_filling) then
    update hot_changes set cancelled_at = now()
    where tenant_id = p_tenant and attribute_id = v_attribute.attribute_id
      and finished_at is null and cancelled_at is null;
    insert into hot_changes (tenant_id, attribute_id, change, requested_by, reason)
    values (p_tenant, v_attribute.attribute_id, case when p_hot then 'promote' else 'demote' end,
            left(p_by, 255), left(p_reason, 1000));
    update attributes set is_hot = false, hot_filling = p_hot where attribute_id = v_attribute.attribute_id;
    return case when p_hot then 'filling' else 'cold' end;
  end if;
  return case when v_attribute.is_hot then 'hot' when v_attribute.hot_filling then 'filling' else 'cold' end;
end
$$;

-- One part of the oldest change that is due: p_entities of the tenant's entities. Returns null
-- if none is due.
--
-- A change is due p_settle after it was asked for. An instance of ingest knows of it ten seconds
-- later at most, and by then a batch that it began before has ended, too, by the function's time
-- limit: what was written without the attribute is staged or in history, where a fill finds it, and
-- what is taken out is not written again.
create function hot_step(p_entities int4, p_settle interval default '100 seconds') returns jsonb
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_change hot_changes;
  v_name   text;
  v_part   jsonb;
  v_last   int8;
  v_rows   int8;
  v_done   bool;
begin
  select c.* into v_change from hot_changes c
  where c.finished_at is null and c.cancelled_at is null and c.requested_at + p_settle <= clock_timestamp()
  order by c.requested_at, c.change_id
  limit 1
  for update skip locked;
  if not found then
    return null;
  end if;
  select a.attribute_name into v_name from attributes a where a.attribute_id = v_change.attribute_id;
  if v_change.started_at is null then
    -- Once a change, and by the key alone: how far it is could not be told without.
    v_change.of_entities := (select count(*) from entities e where e.tenant_id = v_change.tenant_id);
  end if;

  if v_change.change = 'promote' then
    v_part := hot_verify(v_change.tenant_id, v_change.position, p_entities, true, v_change.attribute_id);
    v_last := (v_part ->> 'last')::int8;
    v_rows := (v_part ->> 'repaired')::int8;
  else
    with part as (
      select h.entity_id, h.hot_times ? v_name or h.hot_attrs ? v_name as has
      from entity_jsonb h
      where h.tenant_id = v_change.tenant_id and h.entity_id > v_change.position
      order by h.entity_id limit least(greatest(p_entities, 1), 1000)
      for no key update
    ), taken_out as (
      update entity_jsonb h set
        hot_attrs = h.hot_attrs - v_name, hot_times = h.hot_times - v_name, version = h.version + 1,
        updated_at = now()
      from part p
      where p.has and h.tenant_id = v_change.tenant_id and h.entity_id = p.entity_id
      returning h.entity_id
    )
    select jsonb_build_object('entities', count(*)), max(p.entity_id), (select count(*) from taken_out)
    into v_part, v_last, v_rows
    from part p;
  end if;
  v_done := v_last is null;

  update hot_changes c set
    position = coalesce(v_last, c.position), entities = c.entities + (v_part ->> 'entities')::int8,
    rows_changed = c.rows_changed + v_rows, of_entities = v_change.of_entities,
    started_at = coalesce(c.started_at, now()), finished_at = case when v_done then now() end
  where c.tenant_id = v_change.tenant_id and c.change_id = v_change.change_id
    and c.cancelled_at is null;
  if v_done and v_change.change = 'promote' then
    update attributes set is_hot = true, hot_filling = false
    where attribute_id = v_change.attribute_id and hot_filling;
  end if;
  return jsonb_build_object('tenant', v_change.tenant_id, 'attribute', v_name, 'change', v_change.change,
                            'entities', v_part -> 'entities', 'rows', v_rows, 'done', v_done);
end
$$;

-- A tenant's changes, those under way first, then the newest.
create function hot_changes_of(p_tenant int4)
returns table (attribute_name text, change text, state text, requested_at timestamptz, requested_by text,
               reason text, entities int8, of_entities int8, rows_changed int8, started_at timestamptz,
               finished_at timestamptz)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select a.attribute_name, c.change,
         case when c.cancelled_at is not null then 'cancelled' when c.finished_at is not null then 'done'
              when c.started_at is not null then 'running' else 'waiting' end,
         c.requested_at, c.requested_by, c.reason, c.entities, c.of_entities, c.rows_changed, c.started_at,
         coalesce(c.finished_at, c.cancelled_at)
  from hot_changes c
  join attributes a on a.attribute_id = c.attribute_id
  where c.tenant_id = p_tenant
  order by coalesce(c.finished_at, c.cancelled_at) is not null, c.change_id desc
  limit 100
$$;

grant execute on function hot_request(int4, text, bool, text, text) to eaves_admin;
grant execute on function hot_changes_of(int4) to eaves_admin;
grant execute on function hot_step(int4, interval) to eaves_flush, eaves_admin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
