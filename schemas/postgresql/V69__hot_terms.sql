-- One index for every filter on hot attributes: equality, `in`, ranges of numbers and timestamps, and
-- whether an attribute is there. It takes the place of the GIN index over hot_attrs (V8), which knew
-- equality only: a range was looked for in all of a tenant's rows.
set local role eaves_owner;
grant create on schema public to eaves_pipeline;
set local role eaves_pipeline;

-- What the index has of a row: for each attribute one term, the tenant, the name and the value.
-- Terms of numbers are in the order of the numbers, the negative ones behind the others and the other way
-- round: the digits of the nearest float8. So a range is some prefixes of terms. Timestamps are as ingest
-- writes them, in UTC, which is in order to the second. A term only has to be the same where values are:
-- who searches by it compares the value again.
--
-- The index holds results of this: whoever changes it must build the index anew. It is computed
-- whenever a row is written, hence short, and without a search_path of its own: it names nothing
-- but what pg_catalog has.
create function hot_terms(p_tenant int4, p_attrs jsonb) returns tsvector
language plpgsql immutable parallel safe cost 1000
as $$
declare
  v_tenant text := p_tenant || '.';
begin
  return (
    select array_to_tsvector(array_agg(concat(v_tenant, left(e.key, 60), ':',
      case jsonb_typeof(e.value) when 'number' then encode(float8send(e.value::float8), 'hex')
                                 else left(e.value #>> '{}', 40) end)))
    from jsonb_each(p_attrs) as e
  );
end
$$;
grant execute on function hot_terms(int4, jsonb) to eaves_owner;

-- A term as it stands in a query; one with p_prefix stands for all that begin so.
create function search_term(p_tenant int4, p_name text, p_value text, p_prefix bool) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select '''' || replace(replace(p_tenant || '.' || left(p_name, 60) || ':' || p_value, '\', '\\'), '''', '''''') || ''''
         || case when p_prefix then ':*' else '' end
$$;

-- The numbers from p_low to p_high, of p_digits digits to p_base, as prefixes of their digits. At both ends up
-- to an eighth of the range more, and at most what p_drop digits make out: the fewer the prefixes, the
-- quicker the search.
create function search_prefixes(p_low int8, p_high int8, p_digits int4, p_base int4, p_drop int4) returns setof text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_drop  int4 := 0;
  v_unit  int8 := 1;
  v_low   int8;
  v_high  int8;
  v_size  int8;
  v_wide  int4;
begin
  while v_drop < p_drop and v_unit * p_base * 8 <= p_high - p_low loop
    v_unit := v_unit * p_base;
    v_drop := v_drop + 1;
  end loop;
  v_low := p_low / v_unit;
  v_high := p_high / v_unit;
  while v_low <= v_high loop
    v_size := 1;
    v_wide := p_digits - v_drop;
    while v_wide > 0 and v_low % (v_size * p_base) = 0 and v_low + v_size * p_base - 1 <= v_high loop
      v_size := v_size * p_base;
      v_wide := v_wide - 1;
    end loop;
    return next case
      when v_wide = 0 then ''
      when p_base = 16 then lpad(to_hex(v_low / v_size), v_wide, '0')
      else lpad((v_low / v_size)::text, v_wide, '0') end;
    v_low := v_low + v_size;
  end loop;
end
$$;

-- The first ten hexadecimal digits of a float8, as a number.
create function search_digits(p_value float8) returns int8
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select ('x' || left(encode(float8send(p_value), 'hex'), 10))::bit(40)::int8
$$;

-- Terms of the numbers from p_low to p_high; null: without an end.
create function search_number_terms(p_tenant int4, p_name text, p_low numeric, p_high numeric) returns text
language plpgsql immutable
set search_path = public, pg_temp
as $$
declare
  -- Beyond float8 there are no values.
  v_low   float8 := case when p_low is not null then least(greatest(p_low, -1e300), 1e300) end;
  v_high  float8 := case when p_high is not null then least(greatest(p_high, -1e300), 1e300) end;
  v_minus int8 := x'8000000000'::int8;
  v_terms text;
begin
  if v_low > v_high then
    -- Nothing is in it: a term that no row has.
    return search_term(p_tenant, p_name, '!', false);
  end if;
  select string_agg(search_term(p_tenant, p_name, d, true), ' | ') into v_terms
  from (
    select search_prefixes(search_digits(greatest(coalesce(v_low, 0), 0)),
                           case when p_high is null then v_minus - 1 else search_digits(v_high) end, 10, 16, 4)
    where p_high is null or v_high >= 0
    union all
    -- The greatest of the negative ones first.
    select search_prefixes(v_minus + search_digits(greatest(0 - coalesce(v_high, 0), 0)),
                           case when p_low is null then 2 * v_minus - 1 else v_minus + search_digits(-v_low) end, 10, 16, 4)
    where p_low is null or v_low < 0
  ) as p (d);
  return '(' || v_terms || ')';
end
$$;

-- Terms of the timestamps from p_low to p_high; null: without an end.
create function search_time_terms(p_tenant int4, p_name text, p_low timestamptz, p_high timestamptz) returns text
language plpgsql stable
set search_path = public, pg_temp
as $$
declare
  v_digits text := 'YYYYMMDDHH24MISS';
  v_low    int8;
  v_high   int8;
  v_terms  text;
begin
  if p_low > p_high then
    return search_term(p_tenant, p_name, '!', false);
  end if;
  -- Years with a sign are written otherwise: as if there were no end.
  v_low := case when p_low >= '0001-01-01Z' then to_char(p_low at time zone 'UTC', v_digits)::int8 else 0 end;
  v_high := case when p_high < '0001-01-01Z' then 0 when p_high <= '9999-12-31Z' then to_char(p_high at time zone 'UTC', v_digits)::int8 end;
  select string_agg(search_term(p_tenant, p_name, regexp_replace(
           regexp_replace(d, '^(\d{4})(\d\d?)?(\d\d?)?(\d\d?)?(\d\d?)?(\d\d?)?$', '\1-\2-\3T\4:\5:\6'),
           '[-T:]+$', ''), true), ' | ')
  into v_terms
  from search_prefixes(v_low, coalesce(v_high, 99999999999999), 14, 10, 4) as d;
  if v_low = 0 then
    v_terms := v_terms || ' | ' || search_term(p_tenant, p_name, '-', true);
  end if;
  return '(' || v_terms || ')';
end
$$;

-- What every entity that meets the filter has in the index, as text of a tsquery; null if there is no such
-- thing. Others may have it, too. The filter is one that search_exact takes.
create function search_terms(p_tenant int4, p_filter jsonb) returns text
language plpgsql stable security definer
set search_path = public, pg_temp
as $$
declare
  v_name  text := p_filter ->> 'attribute';
  v_type  text;
  v_terms text;
  v_all   bool;
  v_low   text;
  v_high  text;
begin
  if p_filter ? 'and' then
    select string_agg(t, ' & ') into v_terms
    from jsonb_array_elements(p_filter -> 'and') as e, search_terms(p_tenant, e) as t where t is not null;
    return '(' || v_terms || ')';
  elsif p_filter ? 'or' then
    select string_agg(t, ' | '), bool_and(t is not null) into v_terms, v_all
    from jsonb_array_elements(p_filter -> 'or') as e, search_terms(p_tenant, e) as t;
    return case when v_all then '(' || v_terms || ')' end;
  elsif p_filter ? 'at_least' then
    -- Of n conditions of which k hold, any n - k + 1 have one that holds.
    select string_agg(t, ' | '), count(t) > count(*) - (p_filter #>> '{at_least,k}')::numeric into v_terms, v_all
    from jsonb_array_elements(p_filter #> '{at_least,of}') as e, search_terms(p_tenant, e) as t;
    return case when v_all then '(' || v_terms || ')' end;
  elsif v_name is null then
    return null;
  end if;

  select a.value_type into v_type from attributes a
  where a.tenant_id = p_tenant and a.attribute_name = v_name and a.is_hot;
  if v_type is null then
    return null;
  elsif p_filter ?| array['eq', 'in'] then
    select '(' || string_agg(case v_type
      when 'timestamp' then search_time_terms(p_tenant, v_name, (v #>> '{}')::timestamptz, (v #>> '{}')::timestamptz)
      when 'string' then search_term(p_tenant, v_name, left(v #>> '{}', 40), false)
      when 'boolean' then search_term(p_tenant, v_name, v #>> '{}', false)
      else search_number_terms(p_tenant, v_name, (v #>> '{}')::numeric, (v #>> '{}')::numeric) end, ' | ') || ')'
    into v_terms
    from jsonb_array_elements(case when p_filter ? 'eq' then jsonb_build_array(p_filter -> 'eq') else p_filter -> 'in' end) as v;
    return v_terms;
  elsif p_filter ?| array['gt', 'gte', 'lt', 'lte'] and v_type in ('integer', 'float', 'decimal', 'timestamp') then
    v_low := coalesce(p_filter ->> 'gt', p_filter ->> 'gte');
    v_high := coalesce(p_filter ->> 'lt', p_filter ->> 'lte');
    return case when v_type = 'timestamp'
      then search_time_terms(p_tenant, v_name, v_low::timestamptz, v_high::timestamptz)
      else search_number_terms(p_tenant, v_name, v_low::numeric, v_high::numeric) end;
  elsif p_filter -> 'exists' = 'true' or p_filter ?| array['gt', 'gte', 'lt', 'lte'] then
    return search_term(p_tenant, v_name, '', true);
  end if;
  return null;
end
$$;

-- Whether the index narrows the filter down.
create or replace function search_narrows(p_tenant int4, p_filter jsonb) returns bool
language sql stable security definer
set search_path = public, pg_temp
as $$
  select search_terms(p_tenant, p_filter) is not null
$$;

set local role eaves_owner;
create index entity_jsonb_hot_terms on entity_jsonb using gin (hot_terms(tenant_id, hot_attrs))
  with (fastupdate = on, gin_pending_list_limit = 16384);
drop index entity_jsonb_hot_attrs;
revoke create on schema public from eaves_pipeline;
