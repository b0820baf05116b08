-- What a tenant's queries may cost: how long a window of history may be, and how much may be
-- asked a minute. And who operators are: a role of its own for reads across tenants.
--
-- Like V1 this needs a superuser (on RDS: the master user): it makes a role, and gives rights to
-- a schema that belongs to whoever ran V1.
do $$
begin
  if not exists (select from pg_roles where rolname = 'eaves_superadmin') then
    begin
      create role eaves_superadmin login;
    exception
      -- Another database of the same server is being migrated at the same time.
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise exception 'V60 makes the role eaves_superadmin: migrate with the user who ran V1'
          using errcode = 'insufficient_privilege';
    end;
  end if;
  -- For query_advice() (V63).
  grant usage on schema monitoring to eaves_pipeline;
  execute format('grant connect on database %I to eaves_superadmin', current_database());
end
$$;

set local role eaves_owner;
grant usage on schema public to eaves_superadmin;

alter table tenants
  -- Days that a query of history covers where it names none: the tenant's own choice.
  add column default_window_days int4 not null default 7 check (default_window_days between 1 and 366),
  -- Most days of a query of history. The operator sets it.
  add column longest_window_days int4 not null default 30 check (longest_window_days between 1 and 366),
  add constraint tenants_window_check check (default_window_days <= longest_window_days),
  -- Most requests or values a minute; 0: no limit, null: the query function's settings.
  add column reads_per_minute     int8 check (reads_per_minute >= 0),
  add column expensive_per_minute int8 check (expensive_per_minute >= 0),
  add column values_per_minute    int8 check (values_per_minute >= 0);

grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- Changes what is given; null leaves it, a rate of -1 is the function's settings again. A default
-- window is never longer than the longest one. Returns the tenant, or null if there is none of
-- that name.
create function tenant_guards_set(p_name text, p_default int4, p_longest int4, p_reads int8,
                                  p_expensive int8, p_values int8)
returns int4
language sql security definer
set search_path = public, pg_temp
as $$
  update tenants set
    longest_window_days = coalesce(p_longest, longest_window_days),
    default_window_days = least(coalesce(p_default, default_window_days),
                                coalesce(p_longest, longest_window_days)),
    reads_per_minute = nullif(coalesce(p_reads, reads_per_minute), -1),
    expensive_per_minute = nullif(coalesce(p_expensive, expensive_per_minute), -1),
    values_per_minute = nullif(coalesce(p_values, values_per_minute), -1)
  where name = p_name
  returning tenant_id
$$;

-- The tenant's own choice of its default window. Returns the longest one that it may choose;
-- where that is less than p_days, nothing is changed.
create function own_window_set(p_days int4) returns int4
language plpgsql security definer
set search_path = public, pg_temp
as $$
declare
  v_longest int4;
begin
  update tenants set default_window_days = case when p_days between 1 and longest_window_days then p_days
                                                else default_window_days end
  where tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::int4
  returning longest_window_days into v_longest;
  return v_longest;
end
$$;

grant execute on function tenant_guards_set(text, int4, int4, int8, int8, int8) to eaves_admin;
grant execute on function own_window_set(int4) to eaves_query;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
