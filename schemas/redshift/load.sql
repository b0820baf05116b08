-- Loads one Parquet file of history (docs/olap.md). :file is its S3 path, :role the role of infra's output
-- `warehouse.load_role_arn`, :epoch and :loaded_to the file's epoch and end as `eaves olap files` lists
-- them, :complete_to the time that `eaves olap status` tells.
--   psql -v ON_ERROR_STOP=1 -v file="'s3://…'" -v role="'arn:…'" -v epoch="'0176…'" -v loaded_to=26843545600 \
--     -v complete_to="'2026-11-21T17:00Z'" -f load.sql
-- Files are loaded in the order of that list. Loading the last one again changes nothing: a point that is
-- there in this version or a later one stays.
begin;

-- As the file has it, column for column: COPY takes Parquet by position.
create temp table incoming (
  operation       varchar(8) not null,
  lsn             int8 not null,
  seq             int8 not null,
  xid             int8 not null,
  tenant_id       int4 not null,
  entity_id       int8 not null,
  attribute_id    int4 not null,
  observed_at     timestamp not null,
  ingested_at     timestamp,
  plugin_id       int4,
  value_bool      bool,
  value_int       int8,
  value_float     float8,
  value_decimal   varchar(64),
  value_timestamp timestamp,
  value           varchar(65535)
);
copy incoming from :file iam_role :role format as parquet;

-- Partitions that were dropped: all points of these times that are older than that.
delete from eaves.entity_values using incoming
where incoming.operation = 'drop'
  and eaves.entity_values.observed_at >= incoming.observed_at at time zone 'UTC'
  and eaves.entity_values.observed_at < incoming.value_timestamp at time zone 'UTC'
  and (eaves.entity_values.lsn < incoming.lsn
       or (eaves.entity_values.lsn = incoming.lsn and eaves.entity_values.seq < incoming.seq));

-- Of each point the latest version in this file.
create temp table latest as
select * from (
  select incoming.*, row_number() over (
    partition by tenant_id, entity_id, attribute_id, observed_at order by lsn desc, seq desc) as nth
  from incoming where operation <> 'drop'
) as versions
where nth = 1;
delete from latest using incoming
where incoming.operation = 'drop'
  and latest.observed_at >= incoming.observed_at and latest.observed_at < incoming.value_timestamp
  and (latest.lsn < incoming.lsn or (latest.lsn = incoming.lsn and latest.seq < incoming.seq));
delete from latest using eaves.entity_values
where eaves.entity_values.tenant_id = latest.tenant_id
  and eaves.entity_values.entity_id = latest.entity_id
  and eaves.entity_values.attribute_id = latest.attribute_id
  and eaves.entity_values.observed_at = latest.observed_at at time zone 'UTC'
  and (eaves.entity_values.lsn > latest.lsn
       or (eaves.entity_values.lsn = latest.lsn and eaves.entity_values.seq >= latest.seq));

delete from eaves.entity_values using latest
where eaves.entity_values.tenant_id = latest.tenant_id
  and eaves.entity_values.entity_id = latest.entity_id
  and eaves.entity_values.attribute_id = latest.attribute_id
  and eaves.entity_values.observed_at = latest.observed_at at time zone 'UTC';
-- Decimals have up to 28 digits behind the point; here they are rounded to 9. The file keeps them all.
insert into eaves.entity_values (tenant_id, attribute_id, observed_at, entity_id, attribute_name, entity_type,
  value_bool, value_int, value_float, value_decimal, value_timestamp, value, ingested_at, plugin_id, lsn, seq)
select latest.tenant_id, latest.attribute_id, latest.observed_at at time zone 'UTC', latest.entity_id,
  coalesce(attributes.attribute_name, ''), coalesce(entities.entity_type, ''),
  latest.value_bool, latest.value_int, latest.value_float, cast(latest.value_decimal as numeric(38, 9)),
  latest.value_timestamp at time zone 'UTC', latest.value, latest.ingested_at at time zone 'UTC',
  latest.plugin_id, latest.lsn, latest.seq
from latest
left join eaves.attributes
  on attributes.tenant_id = latest.tenant_id and attributes.attribute_id = latest.attribute_id
left join eaves.entities
  on entities.tenant_id = latest.tenant_id and entities.entity_id = latest.entity_id
where latest.operation <> 'delete';

delete from eaves.loaded_files where path = :file;
insert into eaves.loaded_files (path, rows) select :file, count(*) from incoming;
delete from eaves.load_watermark where source = 'history';
insert into eaves.load_watermark (source, epoch, loaded_to, complete_to, loaded_at)
values ('history', :epoch, :loaded_to, :complete_to, getdate());

commit;
