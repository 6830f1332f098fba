//! What stands for `ldap` in a build without it.

use crate::failure::Failure;
use clap::Args;
use std::time::Duration;

#[derive(Args, Clone)]
pub(super) struct LdapArgs {}

impl LdapArgs {
    pub(super) fn is_given(&self) -> bool {
        false
    }

    pub(super) fn directory(&self, _: Duration) -> Result<Option<Config>, Failure> {
        Ok(None)
    }
}

/// There is none.
pub(super) enum Config {}

impl Config {
    pub(super) async fn open(self) -> Result<(Directory, Vec<String>), Failure> {
        match self {}
    }
}

pub(crate) enum Directory {}

impl Directory {
    pub(super) fn named(&self) -> &str {
        match *self {}
    }
}
