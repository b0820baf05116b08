-- The warehouse: what schemas/postgresql keeps, laid out for questions over many entities and
-- long times. Loaded from Parquet files in the archive bucket (load.sql); never written to by
-- devices. Apply with `psql -v ON_ERROR_STOP=1 -f schema.sql`; it can be applied again.
--
-- Every table begins its sort key with the tenant: a query that names one reads only its blocks.
-- Values and entities are distributed by entity, so that they join where they are.

create schema if not exists eaves;

create table if not exists eaves.tenants (
  tenant_id   int4 not null encode az64,
  name        varchar(63) not null encode zstd,
  strict      bool not null encode raw,
  created_at  timestamptz not null encode az64,
  primary key (tenant_id)
) diststyle all sortkey (tenant_id);

create table if not exists eaves.entities (
  tenant_id   int4 not null encode az64,
  entity_id   int8 not null encode az64,
  external_id varchar(1020) not null encode zstd,
  entity_type varchar(1020) not null encode zstd,
  created_at  timestamptz not null encode az64,
  updated_at  timestamptz not null encode az64,
  primary key (tenant_id, entity_id)
) diststyle key distkey (entity_id) sortkey (tenant_id, entity_id);

create table if not exists eaves.attributes (
  tenant_id      int4 not null encode az64,
  attribute_id   int4 not null encode az64,
  attribute_name varchar(1020) not null encode zstd,
  value_type     varchar(16) not null encode bytedict,
  unit           varchar(256) not null encode zstd,
  is_hot         bool not null encode raw,
  created_at     timestamptz not null encode az64,
  primary key (tenant_id, attribute_id)
) diststyle all sortkey (tenant_id, attribute_name);

-- History, with the names that reports ask for beside the ids: a join less in every question.
-- The point's identity is that of PostgreSQL. Redshift does not enforce keys; load.sql does.
create table if not exists eaves.entity_values (
  tenant_id       int4 not null encode az64,
  attribute_id    int4 not null encode az64,
  observed_at     timestamptz not null encode az64,
  entity_id       int8 not null encode az64,
  attribute_name  varchar(1020) not null encode zstd,
  entity_type     varchar(1020) not null encode zstd,
  value_bool      bool encode raw,
  value_int       int8 encode az64,
  value_float     float8 encode zstd,
  value_decimal   numeric(38, 9) encode az64,
  value_timestamp timestamptz encode az64,
  value           varchar(65535) encode zstd,
  ingested_at     timestamptz not null encode az64,
  plugin_id       int4 encode az64,
  -- The version: where its transaction's commit stands in the log, and its number in there.
  lsn             int8 not null encode az64,
  seq             int8 not null encode az64,
  primary key (tenant_id, entity_id, attribute_id, observed_at)
) diststyle key distkey (entity_id) compound sortkey (tenant_id, attribute_id, observed_at);

-- The latest value of every attribute of every entity, by a load's watermark.
create table if not exists eaves.entity_latest (
  tenant_id      int4 not null encode az64,
  entity_id      int8 not null encode az64,
  attribute_id   int4 not null encode az64,
  observed_at    timestamptz not null encode az64,
  value_text     varchar(65535) encode zstd,
  value_number   float8 encode zstd,
  primary key (tenant_id, entity_id, attribute_id)
) diststyle key distkey (entity_id) sortkey (tenant_id, attribute_id);

-- One row an attribute, entity and hour. Sums, not averages: hours add up to days.
create table if not exists eaves.entity_values_hourly (
  tenant_id    int4 not null encode az64,
  attribute_id int4 not null encode az64,
  hour         timestamptz not null encode az64,
  entity_id    int8 not null encode az64,
  value_count  int8 not null encode az64,
  value_sum    float8 encode zstd,
  value_min    float8 encode zstd,
  value_max    float8 encode zstd,
  primary key (tenant_id, attribute_id, entity_id, hour)
) diststyle key distkey (entity_id) compound sortkey (tenant_id, attribute_id, hour);

-- Which files were loaded: a file that comes again is not loaded again.
create table if not exists eaves.loaded_files (
  path      varchar(1024) not null encode zstd,
  rows      int8 not null encode az64,
  loaded_at timestamptz not null default getdate() encode az64,
  primary key (path)
) diststyle all sortkey (loaded_at);

-- Up to where the warehouse is complete: "data as of" of every answer from here.
create table if not exists eaves.load_watermark (
  source      varchar(63) not null encode zstd,
  -- Files of another epoch do not go with these: empty the table and load all of them.
  epoch       varchar(40) not null encode zstd,
  -- What was committed before this position of the log is here.
  loaded_to   int8 not null encode az64,
  complete_to timestamptz not null encode az64,
  loaded_at   timestamptz not null encode az64,
  primary key (source)
) diststyle all;
