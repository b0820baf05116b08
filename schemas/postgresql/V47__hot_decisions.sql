-- Decisions on what is hot: by the hot-projection function, for each tenant by its plugin or by
-- the built-in rule, and by hand. Each is kept with its reason and the figures it was made on; the
-- newest thousand of a tenant are.
set local role eaves_owner;

create table hot_decisions (
  decision_id    int8 not null generated always as identity,
  tenant_id      int4 not null references tenants,
  -- Null: a plugin failed, and nothing was decided.
  attribute_id   int4,
  decided_at     timestamptz not null default now(),
  change         text not null check (change in ('promote', 'demote', 'pin_hot', 'pin_cold', 'unpin', 'none')),
  code           text not null check (char_length(code) <= 64),
  reason         text not null check (char_length(reason) <= 1000),
  -- The built-in rule, the tenant's plugin, or somebody.
  rule           text not null check (rule in ('default', 'plugin', 'hand')),
  decided_by     text not null check (char_length(decided_by) <= 255),
  plugin_name    text,
  plugin_version text,
  plugin_digest  text,
  -- What it saw.
  statistics     jsonb not null,
  constraint plugins_are_named check ((rule = 'plugin') = (plugin_digest is not null)),
  -- Serves the tenant's read, newest first, and the deletion of the oldest.
  primary key (tenant_id, decision_id)
);

-- The last run for each tenant.
create table hot_runs (
  tenant_id      int4 primary key references tenants,
  ran_at         timestamptz not null,
  rule           text not null check (rule in ('default', 'plugin')),
  plugin_name    text,
  plugin_version text,
  plugin_digest  text,
  -- Attributes it looked at, and changed.
  attributes     int4 not null,
  changes        int4 not null,
  -- Proposals that were not followed, and why.
  held           jsonb not null default '[]',
  -- Why the plugin decided nothing, and how many runs in a row.
  failure        text check (char_length(failure) <= 1000),
  failures       int4 not null default 0
) with (fillfactor = 70);

alter table hot_decisions enable row level security;
alter table hot_decisions force row level security;
create policy tenant_isolation on hot_decisions for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on hot_decisions to eaves_pipeline using (true) with check (true);
alter table hot_runs enable row level security;
alter table hot_runs force row level security;
create policy tenant_isolation on hot_runs for select to eaves_query
  using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::int4));
create policy pipeline on hot_runs to eaves_pipeline using (true) with check (true);
grant select on hot_decisions, hot_runs to eaves_query;
grant select, insert, delete on hot_decisions to eaves_pipeline;
grant select, insert, update on hot_runs to eaves_pipeline;
-- Changes that ended long ago go, too.
grant delete on hot_changes to eaves_pipeline;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- The figures of an attribute as a decision by hand finds them.
create function hot_seen(p_tenant int4, p_attribute int4) returns jsonb
language sql stable security definer
set search_path = public, pg_temp
as $$
  select jsonb_build_object(
    'hot', a.is_hot or a.hot_filling, 'pin', a.hot_pin, 'window_seconds', round(w.seconds::numeric),
    'writes_per_second', round((s.written / w.seconds)::numeric, 6),
    'filters_per_second', round((s.filters / w.seconds)::numeric, 6),
    'returns_per_second', round((s.returns / w.seconds)::numeric, 6),
    'value_bytes', case when s.written > 0 then round((s.bytes / s.written)::numeric, 1) end)
  from attributes a
  cross join attribute_statistics_state b
  cross join lateral (
    select greatest(60, extract(epoch from now()) - greatest(extract(epoch from greatest(b.began_at, a.created_at)),
                                                             (statistics_period(now()) - 1) * 43200))::float8
      as seconds
  ) w
  cross join lateral (
    select coalesce(sum("values"), 0)::float8 as written, coalesce(sum(bytes), 0)::float8 as bytes,
           coalesce(sum(filters), 0)::float8 as filters, coalesce(sum(returns), 0)::float8 as returns
    from attribute_statistics s
    where s.tenant_id = p_tenant and s.attribute_id = p_attribute and s.period >= statistics_period(now()) - 1
  ) s
  where a.tenant_id = p_tenant and a.attribute_id = p_attribute
$$;

-- Keeps the newest thousand decisions of a tenant, and changes that have ended.
create function hot_forget(p_tenant int4) returns void
language sql security definer
set search_path = public, pg_temp
as $$
  delete from hot_decisions d
  where d.tenant_id = p_tenant and d.decision_id <= (
    select o.decision_id from hot_decisions o where o.tenant_id = p_tenant
    order by o.decision_id desc offset 1000 limit 1);
  delete from hot_changes c
  where c.tenant_id = p_tenant and coalesce(c.finished_at, c.cancelled_at) is not null and c.change_id <= (
    select o.change_id from hot_changes o where o.tenant_id = p_tenant
    order by o.change_id desc offset 1000 limit 1);
$$;

-- Somebody decides: promote, demote, pin_hot, pin_cold or unpin. Returns what the attribute is
-- then (hot, filling or cold), 'pinned' if its pin says otherwise, null if the tenant has no such
-- attribute. A pin brings the attribute to where it is pinned. What is so already is not recorded.
create function hot_decide(p_tenant int4, p_name text, p_change text, p_by text, p_reason text) returns text
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_id    int4;
  v_pin   text;
  v_hot   bool;
  v_state text;
  v_want  bool := case when p_change in ('promote', 'pin_hot') then true
                       when p_change in ('demote', 'pin_cold') then false end;
  v_to    text := case p_change when 'pin_hot' then 'hot' when 'pin_cold' then 'cold' end;
  v_seen  jsonb;
begin
  -- The change first and then the attribute, as hot_step does.
  perform from hot_changes c
  join attributes a on a.tenant_id = c.tenant_id and a.attribute_id = c.attribute_id
  where a.tenant_id = p_tenant and a.attribute_name = p_name and c.finished_at is null and c.cancelled_at is null
  for update of c;
  select a.attribute_id, a.hot_pin, a.is_hot or a.hot_filling,
         case when a.is_hot then 'hot' when a.hot_filling then 'filling' else 'cold' end
  into v_id, v_pin, v_hot, v_state
  from attributes a where a.tenant_id = p_tenant and a.attribute_name = p_name
  for no key update;
  if not found then
    return null;
  end if;
  if p_change in ('promote', 'demote') then
    if (v_pin = 'hot') <> v_want then
      return 'pinned';
    end if;
    v_to := v_pin;
  end if;
  if v_pin is not distinct from v_to and v_hot = coalesce(v_want, v_hot) then
    return v_state;
  end if;
  v_seen := hot_seen(p_tenant, v_id);
  update attributes set hot_pin = v_to where attribute_id = v_id and hot_pin is distinct from v_to;
  if v_want is not null then
    v_state := hot_request(p_tenant, p_name, v_want, p_by, p_reason);
  end if;
  insert into hot_decisions (tenant_id, attribute_id, change, code, reason, rule, decided_by, statistics)
  values (p_tenant, v_id, p_change, 'by_hand', left(p_reason, 1000), 'hand', left(p_by, 255), v_seen);
  perform hot_forget(p_tenant);
  return v_state;
end
$$;

-- The same for the current tenant: what its own user decides.
create function hot_decide_own(p_name text, p_change text, p_by text, p_reason text) returns text
language sql security definer
set search_path = public, pg_temp
as $$
  select hot_decide(nullif(current_setting('app.current_tenant_id', true), '')::int4, p_name, p_change, p_by, p_reason)
$$;

-- What a run for the current tenant came to:
--   {"seen_at": microseconds, "rule": "default"|"plugin", "by": "…",
--    "plugin": {"name": …, "version": …, "digest": …}, "attributes": 40, "failure": null, "held": […],
--    "decisions": [{"attribute": …, "change": "promote"|"demote", "code": …, "reason": …, "statistics": {…}}]}
-- Queues the changes (V44) and records them, all or nothing. Who decided by hand since seen_at is
-- not overruled. Returns how many attributes it changed; null if no tenant is set.
create function hot_run(p_run jsonb) returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
  v_tenant   int4 := nullif(current_setting('app.current_tenant_id', true), '')::int4;
  v_seen_at  timestamptz := to_timestamp((p_run ->> 'seen_at')::float8 / 1e6);
  v_plugin   jsonb := p_run -> 'plugin';
  v_failure  text := left(p_run ->> 'failure', 1000);
  v_decision jsonb;
  v_id       int4;
  v_hot      bool;
  v_want     bool;
  v_changes  int4 := 0;
begin
  if v_tenant is null then
    return null;
  end if;
  for v_decision in select d.value from jsonb_array_elements(p_run -> 'decisions') as d (value) loop
    v_want := v_decision ->> 'change' = 'promote';
    perform from hot_changes c
    join attributes a on a.tenant_id = c.tenant_id and a.attribute_id = c.attribute_id
    where a.tenant_id = v_tenant and a.attribute_name = v_decision ->> 'attribute'
      and c.finished_at is null and c.cancelled_at is null
    for update of c;
    select a.attribute_id, a.is_hot or a.hot_filling into v_id, v_hot
    from attributes a
    where a.tenant_id = v_tenant and a.attribute_name = v_decision ->> 'attribute' and a.hot_pin is null
      and not exists (
        select from hot_decisions d
        where d.tenant_id = v_tenant and d.attribute_id = a.attribute_id and d.decided_at > v_seen_at
      )
    for no key update;
    continue when not found or v_hot = v_want;
    perform hot_request(v_tenant, v_decision ->> 'attribute', v_want, p_run ->> 'by', v_decision ->> 'reason');
    insert into hot_decisions (tenant_id, attribute_id, change, code, reason, rule, decided_by, plugin_name,
                               plugin_version, plugin_digest, statistics)
    values (v_tenant, v_id, v_decision ->> 'change', left(v_decision ->> 'code', 64),
            left(v_decision ->> 'reason', 1000), p_run ->> 'rule', left(p_run ->> 'by', 255),
            v_plugin ->> 'name', v_plugin ->> 'version', v_plugin ->> 'digest', v_decision -> 'statistics');
    v_changes := v_changes + 1;
  end loop;
  -- A failure is told once, however often it comes again; hot_runs counts.
  if v_failure is not null and not exists (
    select from hot_runs r
    where r.tenant_id = v_tenant and r.failure = v_failure and r.plugin_digest = v_plugin ->> 'digest'
  ) then
    insert into hot_decisions (tenant_id, change, code, reason, rule, decided_by, plugin_name, plugin_version,
                               plugin_digest, statistics)
    values (v_tenant, 'none', 'plugin_failed', v_failure, 'plugin', left(p_run ->> 'by', 255), v_plugin ->> 'name',
            v_plugin ->> 'version', v_plugin ->> 'digest', '{}');
  end if;
  insert into hot_runs as r (tenant_id, ran_at, rule, plugin_name, plugin_version, plugin_digest, attributes,
                             changes, held, failure, failures)
  values (v_tenant, now(), p_run ->> 'rule', v_plugin ->> 'name', v_plugin ->> 'version', v_plugin ->> 'digest',
          (p_run ->> 'attributes')::int4, v_changes, p_run -> 'held', v_failure, (v_failure is not null)::int4)
  on conflict (tenant_id) do update set
    ran_at = excluded.ran_at, rule = excluded.rule, plugin_name = excluded.plugin_name,
    plugin_version = excluded.plugin_version, plugin_digest = excluded.plugin_digest,
    attributes = excluded.attributes, changes = excluded.changes, held = excluded.held,
    failure = excluded.failure,
    failures = case when excluded.failure is null then 0 else r.failures + 1 end;
  perform hot_forget(v_tenant);
  return v_changes;
end
$$;

-- The tenants for whom it is decided by itself: who has waited longest comes first.
create function hot_tenants(p_limit int4) returns setof int4
language sql stable security definer
set search_path = public, pg_temp
as $$
  select t.tenant_id from tenants t
  left join hot_runs r on r.tenant_id = t.tenant_id
  where t.hot_auto
  order by r.ran_at nulls first, t.tenant_id
  limit p_limit
$$;

grant execute on function hot_decide(int4, text, text, text, text) to eaves_admin;
grant execute on function hot_decide_own(text, text, text, text) to eaves_query;
grant execute on function hot_run(jsonb) to eaves_query;
grant execute on function hot_tenants(int4) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
