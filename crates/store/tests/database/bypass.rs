//! Ways around the tenant, tried one by one: every relation, command and function that the catalogue
//! has, with every role. What is added later is tried without being named here.

use crate::support::{Database, Server, Suite, connect, text};
use crate::tenancy::filled;
use eaves_model::{TenantId, Value, ValueType};
use eaves_store::read::{ReadError, Reader};
use futures_util::TryStreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, SimpleQueryMessage};

pub fn add(suite: &mut Suite) {
    suite.test("bypass::relations_by_command_and_role", relations);
    suite.test("bypass::functions_know_their_tenant", functions);
    suite.test("bypass::reads_across_tenants_need_a_ticket", tickets);
    suite.test("bypass::interleaved_tenants_with_errors_cancels_and_rollbacks", interleaved);
}

const LOGINS: [&str; 5] = ["eaves_ingest", "eaves_flush", "eaves_query", "eaves_admin", "eaves_superadmin"];
const RELATIONS: &str = "select n.nspname || '.' || quote_ident(c.relname), c.relkind, exists (
       select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm') and n.nspname in ('public', 'partman', 'monitoring') order by 1";

/// Runs a statement as a tenant and takes it back: its rows as text, or its SQLSTATE.
async fn attempt(client: &Client, tenant: Option<TenantId>, sql: &str) -> Result<String, String> {
    let set = tenant.map(|t| t.0.to_string()).unwrap_or_default();
    client
        .batch_execute(&format!("begin; select set_config('app.current_tenant_id', '{set}', true)"))
        .await
        .unwrap();
    if sql.starts_with("copy") {
        let copied = async {
            let parts = client.copy_out(sql).await?;
            parts.try_fold(String::new(), async |all, part| Ok(all + &String::from_utf8_lossy(&part))).await
        }
        .await;
        client.batch_execute("rollback").await.unwrap();
        return copied
            .map_err(|e: tokio_postgres::Error| e.code().map_or(e.to_string(), |c| c.code().to_owned()));
    }
    let done = client.simple_query(sql).await;
    client.batch_execute("rollback").await.unwrap();
    match done {
        Ok(messages) => {
            let rows = messages.iter().filter_map(|m| match m {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|i| row.get(i).unwrap_or("")).collect::<Vec<_>>().join("|"))
                }
                _ => None,
            });
            Ok(rows.collect::<Vec<_>>().join("\n"))
        }
        Err(e) => Err(e.code().unwrap_or_else(|| panic!("{sql}: {e:?}")).code().to_owned()),
    }
}

/// Roles, partitions, views and commands.
async fn relations(server: Arc<Server>) {
    let db = filled(&server).await;
    let relations: Vec<(String, bool)> = text(&db.sql, RELATIONS)
        .await
        .lines()
        .map(|line| {
            let parts: Vec<&str> = line.split('|').collect();
            (parts[0].to_owned(), parts[2] == "t")
        })
        .collect();
    // Partitions, too.
    assert!(relations.len() > 60, "{}", relations.len());
    let (mut tried, mut let_in) = (0, Vec::new());
    for role in LOGINS {
        let client = connect(&db.role(role)).await;
        for (relation, of_tenants) in &relations {
            for change in [
                format!("insert into {relation} default values"),
                format!("update {relation} set {} = null", if *of_tenants { "tenant_id" } else { "ctid" }),
                format!("delete from {relation}"),
                format!("truncate {relation}"),
                format!("lock table {relation} in access exclusive mode"),
                format!("alter table {relation} disable row level security"),
                format!("create index on {relation} ((1))"),
            ] {
                tried += 1;
                let done = attempt(&client, Some(db.acme), &change).await;
                let staging = relation.starts_with("public.entity_values_ingest_")
                    && change.starts_with("insert")
                    && ["eaves_ingest", "eaves_flush"].contains(&role);
                match done {
                    // May add to staging; a row of nothing is none that it takes.
                    Err(code) if staging => assert_eq!(code, "23502", "{role}: {change}"),
                    // A system column, a view, a partitioned parent: refused before rights are looked at.
                    Err(code) => {
                        assert!(
                            ["42501", "42809", "0A000", "42703", "55000", "428C9"].contains(&code.as_str()),
                            "{role}: {change}: {code}"
                        );
                    }
                    Ok(_) => panic!("{role}: {change} was done"),
                }
            }
            let count = if *of_tenants { "tenant_id" } else { "null::int4" };
            let select = format!("select distinct {count} from {relation}");
            for tenant in [Some(db.acme), Some(db.other), None] {
                tried += 1;
                match attempt(&client, tenant, &select).await {
                    Err(code) if code == "42501" => {}
                    // A view that wants a ticket; statistics of nobody.
                    Err(code) => {
                        assert!(["EV008", "55000"].contains(&code.as_str()), "{role}: {select}: {code}")
                    }
                    Ok(found) if *of_tenants && role != "eaves_admin" => {
                        let own = tenant.map(|t| t.0.to_string()).unwrap_or_default();
                        assert!(found.is_empty() || found == own, "{role} as {own:?}: {select}: {found}");
                        let_in.push((role, relation.clone()));
                    }
                    Ok(_) => let_in.push((role, relation.clone())),
                }
            }
        }
    }
    assert!(tried > 3000, "{tried}");
    let_in.dedup();
    // The operator sees tenants, counts and what was put aside, and no values.
    for forbidden in ["entity_values", "entity_jsonb", "entities", "attributes"] {
        for role in ["eaves_admin", "eaves_superadmin", "eaves_ingest", "eaves_flush"] {
            let found = let_in.iter().find(|(r, name)| *r == role && name.contains(forbidden));
            assert_eq!(found, None, "{role}");
        }
    }
    // And the reader reads what it is there for.
    assert!(let_in.iter().any(|(role, name)| *role == "eaves_query" && name == "public.entity_values_ts"));
}

/// Whoever may call it: no function shows or changes what is another tenant's.
async fn functions(server: Arc<Server>) {
    let db = filled(&server).await;
    // Definer functions that a tenant's reader may call, and that do not ask whose turn it is.
    let careless = db
        .one(
            "select string_agg(p.proname, ', ' order by p.proname) from pg_proc p
             where p.pronamespace = 'public'::regnamespace and p.prosecdef
               and has_function_privilege('eaves_query', p.oid, 'execute')
               and p.prosrc !~ 'app\\.current_tenant_id'",
        )
        .await;
    // Functions find tenants by name, and all that are decided for; the others tell how far the platform is.
    assert_eq!(
        careless,
        "check_replication_lag, health_check, hot_tenants, lag_points, pipeline_status, positions_reached, staging_recovering, tenants_by_name, \
         unacknowledged_losses"
    );
    // Called with nothing and with everything, as one tenant, without a tenant, and as a ticketless
    // operator: the other's mark shows nowhere.
    let mark = "other-tenants-mark";
    db.sql
        .batch_execute(&format!(
            "update entities set external_id = '{mark}-e', entity_type = '{mark}-t' where tenant_id = {0};
             update attributes set description = '{mark}-d' where tenant_id = {0};
             update entity_jsonb set hot_attrs = '{{\"a\": \"{mark}-v\"}}' where tenant_id = {0};
             update quarantine set message = '{mark}-q' where tenant_id = {0};",
            db.other
        ))
        .await
        .unwrap();
    let calls = db
        .one(
            "select format('select * from %I(%s)', p.proname, (
               select string_agg(format('%s => null::%s', quote_ident(p.proargnames[i]), format_type(p.proargtypes[i - 1], null)), ', ')
               from generate_series(1, p.pronargs - p.pronargdefaults) i))
               || '\t' || has_function_privilege('eaves_query', p.oid, 'execute')
               || '\t' || has_function_privilege('eaves_superadmin', p.oid, 'execute')
             from pg_proc p
             where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
             order by 1",
        )
        .await;
    let (query, superadmin) =
        (connect(&db.role("eaves_query")).await, connect(&db.role("eaves_superadmin")).await);
    let (mut called, mut closed) = (0, 0);
    for line in calls.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let (call, allowed) = (parts[0], [parts[1] == "true", parts[2] == "true"]);
        for (client, allowed) in [(&query, allowed[0]), (&superadmin, allowed[1])] {
            for tenant in [Some(db.acme), None] {
                let done = attempt(client, tenant, call).await;
                let found = done.as_deref().unwrap_or_default();
                assert!(!found.contains(mark), "{call}: {found}");
                if allowed {
                    assert_ne!(done.as_ref().err().map(String::as_str), Some("42501"), "{call}");
                    called += 1;
                } else {
                    assert_eq!(done, Err("42501".to_owned()), "{call}");
                    closed += 1;
                }
            }
        }
    }
    assert!(called > 40 && closed > 200, "{called} {closed}");
    // Other ways to another role or another setting.
    for sql in [
        "set role eaves_pipeline",
        "set role eaves_superadmin",
        "set session authorization eaves_admin",
        "set row_security = off; select external_id from entities",
        "select set_config('search_path', 'pg_temp', true); create temp table entities (n int)",
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "do $$ begin raise notice 'x'; end $$; select external_id from superadmin_entities",
        "select query from monitoring.pg_stat_statements",
        "copy entities to stdout",
        "select pg_read_file('/etc/passwd')",
        "load 'auto_explain'",
    ] {
        let done = attempt(&query, Some(db.acme), sql).await;
        let found = done.as_deref().unwrap_or_default();
        assert!(!found.contains(mark), "{sql}: {found}");
        // Two of these keep to the policies. A test's database is a copy, which does not inherit that
        // nobody may make temporary tables (`schema::public_has_no_rights`).
        let allowed = ["set row_security", "copy", "select set_config", "create function pg_temp"]
            .iter()
            .any(|s| sql.starts_with(s));
        assert!(allowed || done.is_err(), "{sql}: {done:?}");
    }
    // A filter is data, whatever stands in it.
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    for text in [
        "' or true --",
        "'); select * from entities; --",
        "$1",
        "%s",
        "\\",
        "a\" = '1' or '1' = '1",
        "}}' or h.tenant_id = 2 or '{{",
    ] {
        for filter in [
            serde_json::json!({"attribute": "a", "eq": text}),
            serde_json::json!({"attribute": text, "eq": 1}),
            serde_json::json!({"attribute": "a", "in": [text, text]}),
            serde_json::json!({text: 1}),
        ] {
            let query = eaves_store::read::SearchQuery {
                most_cost: Some(1e9),
                ..eaves_store::read::SearchQuery::new(db.acme, filter.to_string(), 100)
            };
            match reader.search(&query).await {
                Ok(found) => assert!(found.value.is_empty(), "{filter}"),
                Err(ReadError::Filter { .. }) => {}
                Err(e) => panic!("{filter}: {e:?}"),
            }
        }
    }
}

/// Row security is on for the superadmin as for everybody: it reads through views, with a ticket that
/// was committed before.
async fn tickets(server: Arc<Server>) {
    let db = filled(&server).await;
    let client = connect(&db.role("eaves_superadmin")).await;
    let open = "select superadmin_open('jane', 'entities', 'other', 'ticket 4711: a test')";
    let refused = async |ticket: &str, sql: &str| {
        let set = format!("select set_config('app.superadmin_ticket', '{ticket}', true); {sql}");
        attempt(&client, None, &set).await
    };
    let read = "select distinct tenant from superadmin_entities";
    for ticket in ["", "x", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(refused(ticket, read).await, Err("EV008".into()), "{ticket}");
    }
    // One that is rolled back with the read.
    let both = format!(
        "with t as materialized ({open}) select set_config('app.superadmin_ticket', superadmin_open::text, true) from t; {read}"
    );
    assert_eq!(attempt(&client, None, &both).await, Err("EV008".into()));
    assert_eq!(db.one("select count(*) from admin_reads").await, "0");

    let ticket = text(&client, open).await;
    let found = refused(&ticket, read).await.unwrap();
    assert!(found.ends_with("other") && !found.contains("acme"), "{found}");
    assert_eq!(
        refused(&ticket, "select * from superadmin_attributes").await,
        Err("EV008".into()),
        "of another kind"
    );
    assert_eq!(refused(&ticket, "select * from query_advice()").await, Err("EV008".into()));
    assert_eq!(refused(&ticket, "select * from entities").await, Err("42501".into()));
    // Another role's, and an old one.
    db.sql.batch_execute("update admin_reads set role_name = 'eaves_admin'").await.unwrap();
    assert_eq!(refused(&ticket, read).await, Err("EV008".into()));
    db.sql
        .batch_execute(
            "update admin_reads set role_name = 'eaves_superadmin', opened_at = now() - interval '6 minutes'",
        )
        .await
        .unwrap();
    assert_eq!(refused(&ticket, read).await, Err("EV008".into()));
    for sql in [
        "delete from admin_reads",
        "update admin_reads set reason = 'another reason'",
        "truncate admin_reads",
    ] {
        for role in LOGINS {
            let client = connect(&db.role(role)).await;
            assert_eq!(attempt(&client, Some(db.acme), sql).await, Err("42501".into()), "{role}: {sql}");
        }
    }
    // A tenant sees who looked at its own.
    let reader = connect(&db.role("eaves_query")).await;
    let notes = "select who || ': ' || reason from admin_reads";
    assert_eq!(attempt(&reader, Some(db.other), notes).await.unwrap(), "jane: ticket 4711: a test");
    assert_eq!(attempt(&reader, Some(db.acme), notes).await.unwrap(), "");
}

/// Two tenants on one connection of a pooler: whatever ended the one before, each sees its own.
async fn interleaved(server: Arc<Server>) {
    let db: Database = server.database().await;
    let mut entities = Vec::new();
    for (n, tenant) in [db.acme, db.other].into_iter().enumerate() {
        let mut w = crate::support::Writer::connect(&db.role("eaves_ingest"), tenant, &format!("s{n}")).await;
        let (e, a) = (w.entity("same-name").await, w.attribute("a", ValueType::Integer).await);
        let points = [w.point(e, a, 0, Value::Integer(n as i64))];
        let hot = [w.hot(e, 0, &format!(r#"{{"a":{n}}}"#))];
        w.commit(1, &points, &hot).await.unwrap();
        entities.push((tenant, e));
    }
    let reader = Arc::new(Reader::new(&db.role("eaves_query"), Duration::from_secs(10)));
    // Statements of others on the pooler's connections, which end badly.
    let mut broken = Vec::new();
    for n in 0..3 {
        let (settings, canceller) = (db.role("eaves_query"), db.superuser.clone());
        let tenant = [db.acme, db.other][n % 2];
        broken.push(tokio::spawn(async move {
            let client = connect(&settings).await;
            let elsewhere = connect(&canceller).await;
            for round in 0..40 {
                let begin = format!("begin; select set_config('app.current_tenant_id', '{tenant}', true)");
                client.batch_execute(&begin).await.unwrap();
                match round % 4 {
                    0 => {
                        // By the server's own function: PgBouncer 1.18 may end at a cancel request that comes
                        // while its connection is handed on.
                        let pid = text(&client, "select pg_backend_pid()").await;
                        let cancel = format!(
                            "select pg_cancel_backend({pid}) from pg_stat_activity
                             where pid = {pid} and state = 'active' and query = 'select pg_sleep(30)'"
                        );
                        let mut sleeping = std::pin::pin!(client.batch_execute("select pg_sleep(30)"));
                        // One that comes before the statement does nothing.
                        let slept = loop {
                            tokio::select! {
                                slept = &mut sleeping => break slept,
                                () = tokio::time::sleep(Duration::from_millis(5)) => {
                                    elsewhere.simple_query(&cancel).await.unwrap();
                                }
                            }
                        };
                        assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");
                        client.batch_execute("rollback").await.unwrap();
                    }
                    1 => {
                        assert!(client.batch_execute("select 1 / 0").await.is_err());
                        client.batch_execute("commit").await.unwrap();
                    }
                    2 => {
                        client.batch_execute("set local statement_timeout = 1").await.unwrap();
                        assert!(client.batch_execute("select pg_sleep(1)").await.is_err());
                        client.batch_execute("rollback").await.unwrap();
                    }
                    _ => client.batch_execute("rollback").await.unwrap(),
                }
            }
        }));
    }
    let (mut read, mut given_up) = (0, 0);
    for round in 0..300 {
        let mut tasks = Vec::new();
        for (n, (tenant, entity)) in entities.iter().copied().enumerate() {
            let reader = Arc::clone(&reader);
            tasks.push((n, entity, tokio::spawn(async move { reader.entity(tenant, "same-name").await })));
        }
        // One of them loses patience, now and then: before it asked, while it waits, or too late.
        if round % 3 == 0 {
            let patience = Duration::from_micros(u64::from(round as u32) * 7 % 2_000);
            tokio::time::sleep(patience).await;
            tasks[round % 2].2.abort();
        }
        for (n, entity, task) in tasks {
            match task.await {
                Ok(done) => {
                    let row = done.unwrap().value.unwrap();
                    assert_eq!(
                        (row.entity, row.attrs_json.as_str()),
                        (entity, format!(r#"{{"a": {n}}}"#).as_str())
                    );
                    read += 1;
                }
                Err(e) if e.is_cancelled() => given_up += 1,
                Err(e) => panic!("{e}"),
            }
        }
    }
    assert!(read >= 500 && given_up > 0, "{read} {given_up}");
    for task in broken {
        task.await.unwrap();
    }
    // And nobody's turn is left over.
    let client = connect(&db.role("eaves_query")).await;
    for _ in 0..20 {
        assert_eq!(text(&client, "select count(*) from entities").await, "0");
    }
}
