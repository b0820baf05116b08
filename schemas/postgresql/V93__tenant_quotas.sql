-- How much a tenant may have in a day, beside its rates a minute (V60). Days are those of UTC.
set local role eaves_owner;

alter table tenants
  -- Most requests or values a day; 0: no quota, null: the functions' settings.
  add column reads_per_day     int8 check (reads_per_day >= 0),
  add column expensive_per_day int8 check (expensive_per_day >= 0),
  add column values_per_day    int8 check (values_per_day >= 0);

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- As tenant_guards_set of V60, which the command line of the release before calls, with quotas: null
-- leaves what is there, -1 is the functions' settings again. Returns the tenant, or null if there is
-- none of that name.
create function tenant_guards_set(p_name text, p_default int4, p_longest int4, p_reads int8, p_expensive int8,
                                  p_values int8, p_reads_day int8, p_expensive_day int8, p_values_day int8)
returns int4
language sql security definer
set search_path = public, pg_temp
as $$
  update tenants set
    reads_per_day = nullif(coalesce(p_reads_day, reads_per_day), -1),
    expensive_per_day = nullif(coalesce(p_expensive_day, expensive_per_day), -1),
    values_per_day = nullif(coalesce(p_values_day, values_per_day), -1)
  where name = p_name;
  select tenant_guards_set(p_name, p_default, p_longest, p_reads, p_expensive, p_values)
$$;

grant execute on function tenant_guards_set(text, int4, int4, int8, int8, int8, int8, int8, int8) to eaves_admin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
