//! A server that shares nothing with others: what stands for `sharing` in a build without Redis.

use super::keys::Source;
use super::log::Log;
use super::metrics::RedisNumbers;
use crate::accounts::{Store, Users};
use crate::failure::Failure;
use clap::Args;
use countersign::{Penalties, TicketKeys};
use std::sync::Arc;

#[derive(Args, Clone)]
pub(super) struct SharingArgs {}

#[derive(Default)]
pub(crate) struct Sharing {}

/// There is no Redis to watch.
#[derive(Clone)]
pub(crate) enum Watched {}

impl SharingArgs {
    pub(super) async fn open(
        &self,
        _: &Source,
        _: Option<&Store>,
        _: Option<&Arc<Log>>,
    ) -> Result<(Sharing, Option<String>), Failure> {
        Ok((Sharing {}, None))
    }

    pub(super) fn files(&self) -> usize {
        0
    }

    pub(super) fn has_tickets(&self, _: &Users) -> bool {
        false
    }
}

impl Sharing {
    pub(super) fn named(&self) -> Option<&str> {
        None
    }

    pub(super) fn tickets(&self, keys: TicketKeys) -> TicketKeys {
        keys
    }

    pub(super) fn watched(&self) -> Option<Watched> {
        None
    }

    pub(super) async fn begin(self, _: Option<&Arc<TicketKeys>>, _: &Arc<Log>) -> Option<String> {
        None
    }
}

impl Watched {
    pub(super) fn penalties(&self, _: Penalties) -> Penalties {
        match *self {}
    }

    pub(super) fn numbers(&self) -> RedisNumbers {
        match *self {}
    }
}
