//! What history has before a row, for plugins that ask for previous values: as live, where it
//! is the hot projection that has it.

use super::compare::Judge;
use eaves_model::batch::{Batch, Previous};
use eaves_model::{AttributeId, EntityId, TenantId, Timestamp, Value};
use eaves_store::read::{AttributeInfoRow, ReadError, Reader};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How long a plugin may take to say what it wants.
const CONFIGURE: Duration = Duration::from_millis(100);
/// Most points that one statement looks for.
const AT_ONCE: usize = 5000;
/// Most latest values that are remembered.
const REMEMBERED: usize = 500_000;

type Pair = (EntityId, AttributeId);
type Seen = Option<(Timestamp, Value)>;

/// Whose a batch's rows are.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Of each of the batch's entities; none where it is not registered.
    pub(super) entities: Vec<Option<EntityId>>,
    /// Of each of the batch's attributes.
    pub(super) attributes: Vec<AttributeId>,
}

/// Previous values, for the attributes that one of the versions asks for.
pub(super) struct Before {
    wanted: HashSet<AttributeId>,
    /// The last value of what has been read so far; none where there was none before.
    latest: HashMap<Pair, Seen>,
}

impl Before {
    /// Asks the versions which attributes' previous values they want. Only those of hot
    /// attributes are given, as live.
    pub(super) fn new(judges: &[Option<&Judge>], attributes: &[AttributeInfoRow]) -> Self {
        let mut names: HashSet<String> = HashSet::new();
        for judge in judges.iter().flatten() {
            // One that cannot say is found out when it is to judge.
            if let Ok(interest) = judge.plugin.configure(&judge.settings, CONFIGURE) {
                names.extend(interest.previous.iter().cloned());
            }
        }
        let hot = attributes.iter().filter(|a| a.is_hot && names.contains(&a.name));
        Self { wanted: hot.map(|a| a.id).collect(), latest: HashMap::new() }
    }

    /// Whether anybody asks.
    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// For a page of history. Pages come in the order of time, so that what is remembered of
    /// one stands before the next; what is not is looked for.
    pub(super) async fn in_history(
        &mut self,
        reader: &Reader,
        tenant: TenantId,
        (batch, ids): (&mut Batch, &Ids),
    ) -> Result<(), ReadError> {
        if !self.is_wanted() {
            return Ok(());
        }
        if self.latest.len() > REMEMBERED {
            self.latest.clear();
        }
        let mut seen = HashSet::new();
        let first: Vec<(u32, Pair)> =
            rows(batch, ids, &self.wanted).filter(|(_, p)| seen.insert(*p)).collect();
        let unknown: Vec<(u32, Pair)> =
            first.iter().filter(|(_, pair)| !self.latest.contains_key(pair)).copied().collect();
        let found = look(reader, tenant, batch, &unknown).await?;
        self.latest.extend(unknown.iter().map(|(_, pair)| *pair).zip(found));
        batch.previous =
            previous(batch, first.iter().map(|(row, pair)| (*row, self.latest.get(pair).cloned().flatten())));
        let last: Vec<(u32, Pair)> = rows(batch, ids, &self.wanted).collect();
        for (row, pair) in last {
            let row = &batch.rows[row as usize];
            self.latest.insert(pair, Some((row.observed_at, row.value.clone())));
        }
        Ok(())
    }

    /// For readings out of quarantine, each for itself: what history has before its time.
    pub(super) async fn in_quarantine(
        &self,
        reader: &Reader,
        tenant: TenantId,
        (batch, ids): (&mut Batch, &Ids),
    ) -> Result<(), ReadError> {
        if !self.is_wanted() {
            return Ok(());
        }
        // An entity of such a batch is one reading.
        let asked: Vec<(u32, Pair)> = rows(batch, ids, &self.wanted).collect();
        let found = look(reader, tenant, batch, &asked).await?;
        batch.previous = previous(batch, asked.iter().map(|(row, _)| *row).zip(found));
        Ok(())
    }
}

/// The rows of the wanted attributes and registered entities.
fn rows<'a>(
    batch: &'a Batch,
    ids: &'a Ids,
    wanted: &'a HashSet<AttributeId>,
) -> impl Iterator<Item = (u32, Pair)> + 'a {
    (0u32..).zip(&batch.rows).filter_map(|(at, row)| {
        let attribute = ids.attributes.get(row.attribute as usize).filter(|a| wanted.contains(a))?;
        let entity = ids.entities.get(row.entity as usize).copied().flatten()?;
        Some((at, (entity, *attribute)))
    })
}

async fn look(
    reader: &Reader,
    tenant: TenantId,
    batch: &Batch,
    asked: &[(u32, Pair)],
) -> Result<Vec<Seen>, ReadError> {
    let mut found = Vec::with_capacity(asked.len());
    for chunk in asked.chunks(AT_ONCE) {
        let points: Vec<(EntityId, AttributeId, Timestamp)> = chunk
            .iter()
            .map(|(row, (entity, attribute))| (*entity, *attribute, batch.rows[*row as usize].observed_at))
            .collect();
        found.extend(reader.values_before(tenant, &points).await?);
    }
    Ok(found)
}

/// As a batch has them: ascending, of the attribute's type.
fn previous(batch: &Batch, found: impl Iterator<Item = (u32, Seen)>) -> Vec<Previous> {
    let of_type = |row: u32, value: &Value| {
        let attribute = batch.rows.get(row as usize).and_then(|r| batch.attributes.get(r.attribute as usize));
        attribute.is_some_and(|a| a.value_type == value.value_type())
    };
    let found = found.filter_map(|(row, seen)| {
        let (observed_at, value) = seen.filter(|(_, value)| of_type(row, value))?;
        Some(Previous { row, observed_at, value })
    });
    found.collect()
}
