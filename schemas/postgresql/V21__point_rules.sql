-- What becomes of a second, different value for a point, and of values that arrive late
-- or are dated ahead: per tenant, and the limits per attribute too.
set local role eaves_owner;

alter table tenants
  -- replace: the later value holds. reject: the first one does, the later one goes to
  -- quarantine. correction: the later one holds, the earlier one is kept beside it.
  add column point_policy text not null default 'replace'
    check (point_policy in ('replace', 'reject', 'correction')),
  -- A value older (newer) than this at its arrival gets the action. Null: no limit.
  add column late_ms int8 check (late_ms >= 0),
  add column late_action text check (late_action in ('accept', 'reject', 'quarantine')),
  add column ahead_ms int8 check (ahead_ms >= 0),
  add column ahead_action text check (ahead_action in ('accept', 'reject', 'quarantine')),
  add constraint tenants_late check ((late_ms is null) = (late_action is null)),
  add constraint tenants_ahead check ((ahead_ms is null) = (ahead_action is null));

alter table attributes
  -- Take the place of the tenant's; null: the tenant's hold.
  add column late_ms int8 check (late_ms >= 0),
  add column late_action text check (late_action in ('accept', 'reject', 'quarantine')),
  add column ahead_ms int8 check (ahead_ms >= 0),
  add column ahead_action text check (ahead_action in ('accept', 'reject', 'quarantine')),
  add constraint attributes_late check ((late_ms is null) = (late_action is null)),
  add constraint attributes_ahead check ((ahead_ms is null) = (ahead_action is null));

-- Serves ingest_tenants: attributes with limits of their own are few.
create index attributes_limited on attributes (tenant_id)
  where late_action is not null or ahead_action is not null;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- All that ingest needs of tenants: their rules, and those of their attributes that have
-- limits of their own, as arrays of one length.
create function ingest_tenants(p_names text[])
returns table (tenant_id int4, name text, strict bool, point_policy text,
               late_ms int8, late_action text, ahead_ms int8, ahead_action text,
               attributes int4[], attributes_late_ms int8[], attributes_late_action text[],
               attributes_ahead_ms int8[], attributes_ahead_action text[])
language sql stable security definer
set search_path = public, pg_temp
as $$
  select t.tenant_id, t.name, t.strict, t.point_policy, t.late_ms, t.late_action, t.ahead_ms, t.ahead_action,
         a.ids, a.late_ms, a.late_action, a.ahead_ms, a.ahead_action
  from tenants t
  cross join lateral (
    select coalesce(array_agg(a.attribute_id), '{}') as ids,
           coalesce(array_agg(a.late_ms), '{}') as late_ms,
           coalesce(array_agg(a.late_action), '{}') as late_action,
           coalesce(array_agg(a.ahead_ms), '{}') as ahead_ms,
           coalesce(array_agg(a.ahead_action), '{}') as ahead_action
    from attributes a
    where a.tenant_id = t.tenant_id and (a.late_action is not null or a.ahead_action is not null)
  ) a
  where t.name = any (p_names)
$$;

-- Changes what is given; null leaves it, the action 'none' takes a limit away. Returns the
-- tenant, or null if there is none of that name.
create function tenant_set(p_name text, p_strict bool, p_hot_limit int4, p_point_policy text,
                           p_late_ms int8, p_late_action text, p_ahead_ms int8, p_ahead_action text)
returns int4
language sql security definer
set search_path = public, pg_temp
as $$
  update tenants set
    strict = coalesce(p_strict, strict),
    hot_limit = coalesce(p_hot_limit, hot_limit),
    point_policy = coalesce(p_point_policy, point_policy),
    late_ms = case when p_late_action is null then late_ms when p_late_action <> 'none' then p_late_ms end,
    late_action = nullif(coalesce(p_late_action, late_action), 'none'),
    ahead_ms = case when p_ahead_action is null then ahead_ms when p_ahead_action <> 'none' then p_ahead_ms end,
    ahead_action = nullif(coalesce(p_ahead_action, ahead_action), 'none')
  where name = p_name
  returning tenant_id
$$;

-- The same for one attribute's limits. Returns whether there is such an attribute.
create function attribute_set(p_tenant int4, p_name text, p_late_ms int8, p_late_action text,
                              p_ahead_ms int8, p_ahead_action text)
returns bool
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  update attributes set
    late_ms = case when p_late_action is null then late_ms when p_late_action <> 'none' then p_late_ms end,
    late_action = nullif(coalesce(p_late_action, late_action), 'none'),
    ahead_ms = case when p_ahead_action is null then ahead_ms when p_ahead_action <> 'none' then p_ahead_ms end,
    ahead_action = nullif(coalesce(p_ahead_action, ahead_action), 'none')
  where tenant_id = p_tenant and attribute_name = p_name;
  return found;
end
$$;

-- A tenant's attributes for the operator, by name.
create function attribute_list(p_tenant int4)
returns table (attribute_name text, value_type text, unit text, is_hot bool,
               late_ms int8, late_action text, ahead_ms int8, ahead_action text)
language sql stable security definer
set search_path = public, pg_temp
as $$
  select a.attribute_name, a.value_type, a.unit, a.is_hot, a.late_ms, a.late_action, a.ahead_ms, a.ahead_action
  from attributes a where a.tenant_id = p_tenant order by a.attribute_name
$$;

grant execute on function ingest_tenants(text[]) to eaves_ingest;
grant execute on function tenant_set(text, bool, int4, text, int8, text, int8, text) to eaves_admin;
grant execute on function attribute_set(int4, text, int8, text, int8, text) to eaves_admin;
grant execute on function attribute_list(int4) to eaves_admin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
