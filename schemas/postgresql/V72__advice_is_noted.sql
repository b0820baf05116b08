-- Advice is noted whoever asks for it: from the command line (eaves_admin) as over HTTP
-- (eaves_superadmin). Statements and attributes of all tenants are in it.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- What V63 made, for the one below alone.
alter function query_advice(float8, int8) rename to query_advice_found;
revoke execute on function query_advice_found(float8, int8) from eaves_admin, eaves_superadmin;

-- See V63. Needs a ticket: superadmin_open(who, 'advice', null, reason), committed.
create function query_advice(p_slow_ms float8 default 200, p_least_filters int8 default 20)
returns table (kind text, tenant text, subject text, weight float8, figures jsonb)
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
begin
  perform superadmin_scope('advice');
  return query select * from query_advice_found(p_slow_ms, p_least_filters);
end
$$;

revoke execute on function query_advice(float8, int8) from public;
grant execute on function query_advice(float8, int8) to eaves_admin, eaves_superadmin;

set local role eaves_owner;
revoke create on schema public from eaves_pipeline;
