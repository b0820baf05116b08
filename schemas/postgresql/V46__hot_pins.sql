-- What a tenant fixes by hand of its hot projection: pins, a budget, and whether anything is
-- decided by itself.
set local role eaves_owner;

-- 'hot': always; 'cold': never; null: as is decided.
alter table attributes
  add column hot_pin text check (hot_pin in ('hot', 'cold'));

alter table tenants
  -- Bytes of hot values of a mean entity (eaves_model::hot::BYTE_BUDGET).
  add column hot_bytes int4 not null default 1600 check (hot_bytes between 0 and 100000),
  -- The hot-projection function decides for the tenant.
  add column hot_auto bool not null default true;

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

drop function tenant_set(text, bool, int4, text, int8, text, int8, text);

-- See V21; with the hot projection's budget, and whether it is decided about by itself.
create function tenant_set(p_name text, p_strict bool, p_hot_limit int4, p_point_policy text,
                           p_late_ms int8, p_late_action text, p_ahead_ms int8, p_ahead_action text,
                           p_hot_bytes int4, p_hot_auto bool)
returns int4
language sql security definer
set search_path = public, pg_temp
as $$
  update tenants set
    strict = coalesce(p_strict, strict),
    hot_limit = coalesce(p_hot_limit, hot_limit),
    hot_bytes = coalesce(p_hot_bytes, hot_bytes),
    hot_auto = coalesce(p_hot_auto, hot_auto),
    point_policy = coalesce(p_point_policy, point_policy),
    late_ms = case when p_late_action is null then late_ms when p_late_action <> 'none' then p_late_ms end,
    late_action = nullif(coalesce(p_late_action, late_action), 'none'),
    ahead_ms = case when p_ahead_action is null then ahead_ms when p_ahead_action <> 'none' then p_ahead_ms end,
    ahead_action = nullif(coalesce(p_ahead_action, ahead_action), 'none')
  where name = p_name
  returning tenant_id
$$;

grant execute on function tenant_set(text, bool, int4, text, int8, text, int8, text, int4, bool) to eaves_admin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
