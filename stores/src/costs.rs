//! What unknown names imitate: a list in the database that grows and does not shrink, and is the same for all servers.

use crate::database::{Database, Value, Work};
use countersign::accounts::Imitation;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long what was read counts: the list hardly ever changes.
const FRESH: Duration = Duration::from_secs(10);

/// How long who only reads waits for what is written by the way: so much less than for the database that a lock which keeps writers waiting is no absence of it.
const WRITE: Duration = Duration::from_secs(1);

/// The list as it was read last.
#[derive(Default)]
pub(crate) struct Costs(Mutex<Known>);

#[derive(Default)]
struct Known {
    asked: Option<Instant>,
    key: Zeroizing<[u8; 32]>,
    costs: Vec<String>,
    imitation: Imitation,
}

impl Known {
    fn has(&self, cost: &str) -> bool {
        self.costs.iter().any(|known| known == cost)
    }
}

impl Costs {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to read the list again. Says so once: where the database is away, one login in a while waits for it, and not each
    /// of them.
    pub(crate) fn is_due(&self) -> bool {
        let mut known = self.known();
        let is_due = known.asked.is_none_or(|asked| asked.elapsed() >= FRESH);
        if is_due {
            known.asked = Some(Instant::now());
        }
        is_due
    }

    pub(crate) fn imitation(&self) -> Imitation {
        self.known().imitation.clone()
    }

    pub(crate) fn knows(&self, cost: &str) -> bool {
        self.known().has(cost)
    }

    /// Reads the list. What new passwords cost is on it before there is one.
    pub(crate) async fn read(&self, database: &Database) -> Result<(), sqlx::Error> {
        let key = database.read("SELECT imitation_key FROM countersign", Vec::new()).await?;
        let key = Zeroizing::new(key.first().ok_or(sqlx::Error::RowNotFound)?.text("imitation_key")?);
        let bytes = parse_key(&key).ok_or_else(|| sqlx::Error::Decode("the key of the imitation is broken".into()))?;
        let rows = database.read("SELECT cost FROM imitated_costs ORDER BY number, cost", Vec::new()).await?;
        let costs = rows.iter().map(|row| row.text("cost")).collect::<Result<Vec<_>, _>>()?;
        let default = Imitation::default_cost();
        if !costs.contains(&default) {
            // A server that may not write imitates it none the less, and one that can't write now reads on.
            let written = async {
                let mut work = database.begin().await?;
                insert(&mut work, &default).await?;
                work.commit().await
            };
            let _ = tokio::time::timeout(WRITE, written).await;
        }
        let mut known = self.known();
        known.key = bytes;
        // What this process has learnt and could not write stays, too.
        let before = core::mem::take(&mut known.costs);
        known.costs = costs;
        for cost in before.into_iter().chain([default]) {
            if !known.has(&cost) {
                known.costs.push(cost);
            }
        }
        known.imitation = Imitation::new(*known.key, &known.costs);
        known.asked = Some(Instant::now());
        Ok(())
    }

    /// Puts a cost on the list, if it is not there. It is imitated once the list is read again, or [`Costs::imitate`] is told.
    pub(crate) async fn learn(&self, work: &mut Work, cost: &str) -> Result<(), sqlx::Error> {
        let is_full = |known: &Known| known.costs.len() >= Imitation::MOST;
        let is_new = {
            let known = self.known();
            !known.has(cost) && !is_full(&known)
        };
        if is_new {
            insert(work, cost).await?;
            // Not known yet: the work may come to nothing.
            self.known().asked = None;
        }
        Ok(())
    }

    /// Imitates a cost from now on.
    pub(crate) fn imitate(&self, cost: &str) {
        let mut known = self.known();
        if !known.has(cost) {
            known.costs.push(cost.to_owned());
            known.imitation = Imitation::new(*known.key, &known.costs);
        }
    }
}

/// 64 hexadecimal digits, as they were made with the tables. With anything else in their place, whoever guesses it could tell by their cost which names
/// there are not.
pub(crate) fn parse_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if digits.len() != bytes.len() || !rest.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Whoever else does the same at the time: there is one row for each.
pub(crate) async fn insert(work: &mut Work, cost: &str) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO imitated_costs (cost, number) \
                  VALUES ($1, (SELECT coalesce(max(number), 0) + 1 FROM imitated_costs)) ON CONFLICT (cost) DO NOTHING";
    work.run(insert, vec![Value::from(cost)]).await.map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::Costs;
    use crate::place::Place;
    use countersign::accounts::Imitation;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn what_another_server_has_put_on_the_list_is_imitated_here_ten_seconds_later() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::sqlite(folder.path().join("accounts.db"));
        place.migrate().await.unwrap();
        let database = place.database().unwrap();
        let (here, there) = (Costs::default(), Costs::default());
        here.read(&database).await.unwrap();
        assert!(!here.is_due());
        let cost = "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let mut work = database.begin().await.unwrap();
        there.learn(&mut work, cost).await.unwrap();
        work.commit().await.unwrap();
        here.known().asked = Instant::now().checked_sub(Duration::from_secs(10));
        assert!(here.is_due());
        assert!(!here.is_due(), "one login in a while waits for it");
        here.read(&database).await.unwrap();
        let imitation = here.imitation();
        assert!((0..64).any(|number| imitation.cost_of(&format!("nobody{number}")).contains("$m=16,t=1,p=1$")));
        database.close().await;
    }

    fn cost(memory: usize) -> String {
        format!("$argon2id$v=19$m={memory},t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    }

    #[tokio::test]
    async fn what_can_not_be_written_is_imitated_here_all_the_same_and_no_more_is_listed_than_can_be_imitated() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::sqlite(folder.path().join("accounts.db"));
        place.migrate().await.unwrap();
        let database = place.database().unwrap();
        let here = Costs::default();
        here.read(&database).await.unwrap();
        here.imitate(&cost(16));
        here.read(&database).await.unwrap();
        assert!(here.knows(&cost(16)), "nobody has put it on the list");
        for memory in 17..17 + 2 * Imitation::MOST {
            let mut work = database.begin().await.unwrap();
            here.learn(&mut work, &cost(memory)).await.unwrap();
            work.commit().await.unwrap();
            here.read(&database).await.unwrap();
        }
        let rows = database.read("SELECT cost FROM imitated_costs", Vec::new()).await.unwrap();
        // One of those that are imitated is not on it.
        assert_eq!(rows.len(), Imitation::MOST - 1);
        database.close().await;
    }
}
