//! What a batch adds to the statistics of attributes (`V42__attribute_statistics.sql`).

use crate::db::Parameter;
use eaves_model::usage::Batch;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

const ADD: &str = "select statistics_add_writes($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Registers as the database takes them.
fn bytes(registers: &[u16]) -> Vec<u8> {
    registers.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Adds it; nobody waits for anybody here.
pub(super) async fn add(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), Error> {
    if batch.rows.is_empty() {
        return Ok(());
    }
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let all = batch.rows.iter();
    let tenants: Vec<i32> = all.clone().map(|(tenant, ..)| tenant.0).collect();
    let attributes: Vec<i32> = all.clone().map(|(_, attribute, _)| attribute.0).collect();
    let values: Vec<i64> = all.clone().map(|(.., w)| count(w.values)).collect();
    let sizes: Vec<i64> = all.clone().map(|(.., w)| count(w.bytes)).collect();
    let compared: Vec<i64> = all.clone().map(|(.., w)| count(w.compared)).collect();
    let changed: Vec<i64> = all.clone().map(|(.., w)| count(w.changed)).collect();
    let entities: Vec<Vec<u8>> = all.clone().map(|(.., w)| bytes(&w.entities)).collect();
    let distinct_values: Vec<Vec<u8>> = all.map(|(.., w)| bytes(&w.distinct_values)).collect();
    let parameters: &[Parameter<'_>] = &[
        (&tenants, Type::INT4_ARRAY),
        (&attributes, Type::INT4_ARRAY),
        (&batch.period, Type::INT4),
        (&values, Type::INT8_ARRAY),
        (&sizes, Type::INT8_ARRAY),
        (&compared, Type::INT8_ARRAY),
        (&changed, Type::INT8_ARRAY),
        (&entities, Type::BYTEA_ARRAY),
        (&distinct_values, Type::BYTEA_ARRAY),
    ];
    transaction.query_typed(ADD, parameters).await.map(drop)
}
