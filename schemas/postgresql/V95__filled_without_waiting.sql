-- A part of a change of what is hot does not wait for the disk: its position goes with its rows, so what a crash takes back
-- is done again. Only the end, from which queries rely on the projection, is waited for, and with it all parts before.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As in V92.
create or replace function hot_advance(p_entities int4, p_settle interval default '100 seconds') returns text
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_change hot_changes;
  v_changes int8[];
  v_attributes int4[];
  v_name   text;
  v_part   record;
  v_done   bool;
begin
  perform set_config('synchronous_commit', 'off', true);
  select c.* into v_change from hot_changes c
  where c.finished_at is null and c.cancelled_at is null and c.requested_at + p_settle <= clock_timestamp()
  order by c.requested_at, c.change_id
  limit 1
  for update skip locked;
  if not found then
    return null;
  end if;
  select a.attribute_name into v_name from attributes a where a.attribute_id = v_change.attribute_id;
  v_changes := array[v_change.change_id];
  v_attributes := array[v_change.attribute_id];
  if v_change.change = 'promote' then
    -- All of the tenant that are as far: whatever is filled in, an entity's row is written once.
    select v_changes || array_agg(c.change_id), v_attributes || array_agg(c.attribute_id) into v_changes, v_attributes
    from (
      select c.change_id, c.attribute_id from hot_changes c
      where c.tenant_id = v_change.tenant_id and c.change = 'promote' and c.position = v_change.position
        and c.change_id <> v_change.change_id
        and c.finished_at is null and c.cancelled_at is null and c.requested_at + p_settle <= clock_timestamp()
      order by c.change_id
      for update skip locked
    ) c;
  end if;
  if exists (select from hot_changes c where c.tenant_id = v_change.tenant_id and c.change_id = any (v_changes)
                                         and c.started_at is null) then
    -- Once a change, and by the key alone: how far it is could not be told without.
    v_change.of_entities := (select count(*) from entities e where e.tenant_id = v_change.tenant_id);
  end if;

  if v_change.change = 'promote' then
    v_part := hot_fill(v_change.tenant_id, v_change.position, p_entities, v_attributes);
  else
    with part as (
      select h.entity_id, h.hot_times ? v_name or h.hot_attrs ? v_name as has
      from entity_jsonb h
      where h.tenant_id = v_change.tenant_id and h.entity_id > v_change.position
      order by h.entity_id limit least(greatest(p_entities, 1), 1000)
      for no key update
    ), taken_out as (
      update entity_jsonb h set
        hot_attrs = h.hot_attrs - v_name, hot_times = h.hot_times - v_name,
        version = greatest(h.version + 1, (extract(epoch from clock_timestamp()) * 1000000)::int8),
        updated_at = now()
      from part p
      where p.has and h.tenant_id = v_change.tenant_id and h.entity_id = p.entity_id
      returning h.entity_id, h.version, h.hot_attrs::text, h.hot_times::text
    )
    select count(*) as entities, max(p.entity_id) as last, (select count(*) from taken_out) as rows,
           (select coalesce('[' || string_agg(format('[%s,%s,%s,%s]', t.entity_id, t.version, t.hot_attrs, t.hot_times), ',')
                            || ']', '[]')
            from taken_out t) as changed
    into v_part
    from part p;
  end if;
  v_done := v_part.last is null;

  update hot_changes c set
    position = coalesce(v_part.last, c.position), entities = c.entities + v_part.entities,
    rows_changed = c.rows_changed + v_part.rows,
    of_entities = case when c.started_at is null then v_change.of_entities else c.of_entities end,
    started_at = coalesce(c.started_at, now()), finished_at = case when v_done then now() end
  where c.tenant_id = v_change.tenant_id and c.change_id = any (v_changes)
    and c.cancelled_at is null;
  if v_done then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  if v_done and v_change.change = 'promote' then
    update attributes set is_hot = true, hot_filling = false
    where attribute_id = any (v_attributes) and hot_filling;
  end if;
  return format('{"tenant":%s,"attribute":%s,"change":%s,"attributes":%s,"entities":%s,"rows":%s,"done":%s,"changed":%s}',
                v_change.tenant_id, to_json(v_name), to_json(v_change.change), (
                  select json_agg(a.attribute_name order by n.ord)
                  from unnest(v_attributes) with ordinality as n (id, ord)
                  join attributes a on a.attribute_id = n.id),
                v_part.entities, v_part.rows, to_json(v_done), v_part.changed);
end
$$;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
