-- Attributes that are made before their first value, with the type that they shall have. Without it the first value
-- decides, and a strict tenant takes none of an attribute that is not made so.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Makes the attribute if the tenant has none of that name, and sets what is given of unit and description. One of
-- another type stays as it is: values of it may be stored. Returns the type that it has, and whether it was made.
create function attribute_declare(p_tenant int4, p_name text, p_type text, p_unit text, p_description text,
                                  out value_type text, out made bool)
language plpgsql security definer
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
  v_type text;
begin
  select a.value_type into v_type from attributes a where a.tenant_id = p_tenant and a.attribute_name = p_name;
  made := v_type is null;
  if made then
    select r.value_type into v_type from register_attributes(p_tenant, array[p_name], array[p_type], true) r;
  end if;
  attribute_declare.value_type := v_type;
  if v_type = p_type and (p_unit is not null or p_description is not null) then
    update attributes set unit = coalesce(p_unit, unit), description = coalesce(p_description, description)
    where tenant_id = p_tenant and attribute_name = p_name;
  end if;
end
$$;

-- The same of the current tenant.
create function own_attribute_declare(p_name text, p_type text, p_unit text, p_description text,
                                      out value_type text, out made bool)
language sql security definer
set search_path = public, pg_temp
as $$
  select d.value_type, d.made
  from attribute_declare(nullif(current_setting('app.current_tenant_id', true), '')::int4, p_name, p_type, p_unit,
                         p_description) d
$$;

grant execute on function attribute_declare(int4, text, text, text, text) to eaves_admin;
grant execute on function own_attribute_declare(text, text, text, text) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
