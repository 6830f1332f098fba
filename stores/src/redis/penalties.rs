//! The counts of failed logins.

use super::link::{Call, PROBE, RIGHTS};
use super::{RedisError, RedisStore};
use countersign::{PenaltyKey, PenaltyStore, Source, Standing, StoreAway, Stored};
use std::sync::atomic::Ordering;
use std::time::Duration;

const READ: &str = concat!(include_str!("common.lua"), include_str!("read.lua"));
const ADD: &str = concat!(include_str!("common.lua"), include_str!("add.lua"));

impl RedisStore {
    /// Whether it takes writes, and at first whether all that is needed may be done.
    pub(super) async fn check_writes(&self) -> Result<(), RedisError> {
        let has_rights = &self.0.has_rights;
        if has_rights.load(Ordering::Relaxed) {
            return self.call(PROBE, Vec::new()).await.map(drop);
        }
        self.check_rights().await?;
        has_rights.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(super) async fn check_rights(&self) -> Result<(), RedisError> {
        self.call(RIGHTS, Vec::new()).await.map(drop)
    }

    pub(super) async fn check_penalties(&self) -> Result<(), RedisError> {
        self.call(READ, self.count(&PenaltyKey::Total).to_vec()).await?;
        self.call(ADD, Vec::new()).await.map(drop)
    }

    pub(super) async fn call(&self, script: &'static str, arguments: Vec<Vec<u8>>) -> Result<Vec<String>, RedisError> {
        self.0.link.ask(Call { script, prefix: self.0.prefix.clone(), arguments }).await
    }

    /// What a count is, as the scripts want it.
    fn count(&self, key: &PenaltyKey) -> [Vec<u8>; 4] {
        let kind = match key {
            PenaltyKey::Total => "total",
            PenaltyKey::KnownSource(..) => "known",
            PenaltyKey::Logins(..) => "logins",
            PenaltyKey::LoginsFrom(_) => "from",
            PenaltyKey::ExemptSource(..) => "exempt",
            PenaltyKey::LoginsOf(_) => "principal",
            _ => "count",
        };
        let (a, b) = match key {
            PenaltyKey::Total => (Vec::new(), Vec::new()),
            PenaltyKey::KnownSource(source, name) => {
                ([self.name(name), self.source(source)].concat(), self.places(key))
            }
            PenaltyKey::Logins(source, name) => (self.name(name), self.source(source)),
            PenaltyKey::LoginsFrom(source) => (self.source(source), Vec::new()),
            PenaltyKey::LoginsOf(principal) => (self.name(principal), Vec::new()),
            _ => (self.places(key), Vec::new()),
        };
        [kind.into(), key.half_life().as_millis().to_string().into(), a, b]
    }

    fn name(&self, name: &str) -> Vec<u8> {
        self.hash("name", name).into_iter().take(16).collect()
    }

    fn source(&self, source: &Source) -> Vec<u8> {
        self.hash("source", &source.to_string()).into_iter().take(16).collect()
    }

    /// Where the four cells of a count are, 16 bits each.
    fn places(&self, key: &PenaltyKey) -> Vec<u8> {
        self.hash("count", &key.to_string()).into_iter().take(8).collect()
    }
}

impl PenaltyStore for RedisStore {
    fn read<'a>(&'a self, keys: &'a [PenaltyKey]) -> Stored<'a, Vec<Standing>> {
        Box::pin(async move {
            let arguments = keys.iter().flat_map(|key| self.count(key)).collect();
            let answer = self.call(READ, arguments).await.map_err(|_| StoreAway)?;
            answer.chunks_exact(2).map(standing).collect::<Option<_>>().ok_or(StoreAway)
        })
    }

    fn add<'a>(&'a self, amounts: &'a [(PenaltyKey, f64)]) -> Stored<'a, ()> {
        Box::pin(async move {
            let with_amount =
                |(key, amount): &(PenaltyKey, f64)| self.count(key).into_iter().chain([format!("{amount:e}").into()]);
            self.call(ADD, amounts.iter().flat_map(with_amount).collect()).await.map(drop).map_err(|_| StoreAway)
        })
    }
}

fn standing(answer: &[String]) -> Option<Standing> {
    let [level, since] = answer else { return None };
    Some(Standing { level: level.parse().ok()?, since: Duration::from_millis(since.parse().ok()?) })
}
