-- What a tenant's own user may change through the API: how the tenant's values are taken, and how
-- its attributes are described. The tenant comes from app.current_tenant_id and from nowhere else.
-- Whether attributes become hot by themselves (hot_limit) stays the operator's.
set local role eaves_owner;

alter table attributes
  add constraint attributes_description_check check (char_length(description) <= 1000);

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Changes what is given, as tenant_set (V21) does. Returns whether there is such a tenant.
create function own_settings_change(p_strict bool, p_point_policy text, p_late_ms int8, p_late_action text,
                                    p_ahead_ms int8, p_ahead_action text)
returns bool
language sql security definer
set search_path = public, pg_temp
as $$
  select coalesce(bool_or(
    tenant_set(t.name, p_strict, null, p_point_policy, p_late_ms, p_late_action, p_ahead_ms, p_ahead_action,
               null, null)
      is not null), false)
  from tenants t
  where t.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
$$;

-- Changes what is given. Returns whether the tenant has such an attribute.
create function own_attribute_describe(p_name text, p_unit text, p_description text)
returns bool
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
  update attributes set
    unit = coalesce(p_unit, unit),
    description = coalesce(p_description, description)
  where tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
    and attribute_name = p_name;
  return found;
end
$$;

grant execute on function own_settings_change(bool, text, int8, text, int8, text) to eaves_query;
grant execute on function own_attribute_describe(text, text, text) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
