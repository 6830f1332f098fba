//! Passwords that clients stretch for this server: what it announces, and who can't log in like that.

use super::keys::Source;
use crate::failure::Failure;
use crate::term;
use clap::Args;
use countersign::accounts::{Account, PasswordCheck};
use countersign::{StretchParameters, StretchedHash, Stretching};

#[derive(Args)]
#[command(next_help_heading = "Stretched passwords")]
pub(super) struct StretchArgs {
    /// Let clients compute the password hashes: a login by password costs this server about what one by token does. Passwords are then
    /// taken stretched alone; `user add` and `user passwd` set such with --stretch-realm
    #[arg(long)]
    stretch: bool,
    /// What the passwords are stretched for. Chosen once: under another realm every password has to be set anew [default: the
    /// first --server-name]
    #[arg(long, value_name = "REALM", requires = "stretch")]
    stretch_realm: Option<String>,
    /// What stretching takes of a client: KiB of memory, passes, lanes. Given twice, the new ones first, passwords at the second
    /// ones are good, too, and move to the new ones at their users' next logins, but for those of accounts with a second factor, which `user passwd`
    /// moves. Of several servers each gets them with --no-password-upgrade first: one that knows the old ones alone refuses who has moved [default:
    /// m=65536,t=3,p=4]
    #[arg(long = "stretch-parameters", value_name = "PARAMETERS", requires = "stretch")]
    parameters: Vec<StretchParameters>,
    /// Ask clients for the password itself, too, and move accounts that have no stretched one yet at their users' next logins. As
    /// long as this is given, every login by password costs a password hash. Of several servers each gets it with --no-password-upgrade first: to one
    /// without it a password that has moved is wrong
    #[arg(long, requires = "stretch")]
    stretch_moving: bool,
}

impl StretchArgs {
    /// What is announced, if anything is.
    pub(super) fn stretching(&self, keys: &Source) -> Result<Option<Stretching>, Failure> {
        if !self.stretch {
            return Ok(None);
        }
        let realm = self.stretch_realm.as_deref().or(keys.first_name()).ok_or_else(|| {
            Failure::usage(
                "--stretch needs a realm that stays: give --stretch-realm, or a --server-name, which is taken for it",
            )
        })?;
        let parameters = if self.parameters.is_empty() { &[StretchParameters::DEFAULT][..] } else { &self.parameters };
        let stretching = Stretching::new(realm, parameters)
            .map_err(|error| Failure::usage(format_args!("--stretch-realm and --stretch-parameters: {error}")))?;
        Ok(Some(if self.stretch_moving { stretching.with_moving() } else { stretching }))
    }
}

/// Whether a good login by password has the password stored anew.
pub(super) fn is_due(account: &Account, stretching: Option<&Stretching>, keeps_passwords: bool) -> bool {
    if keeps_passwords {
        return false;
    }
    match (stretching, account.stretched()) {
        (None, _) => account.password_cost().is_some_and(|cost| PasswordCheck::needs_upgrade(&cost)),
        (Some(of), Some(kept)) => kept.is_announced_by(of) && of.parameters().first() != Some(&kept.parameters()),
        (Some(of), None) => of.is_moving() && account.has_password(),
    }
}

/// How many accounts have which passwords.
#[derive(Default)]
pub(super) struct Counts {
    /// One that is not stretched, and none that is.
    plain: usize,
    /// One that is stretched at parameters that are announced, and not the newest.
    older: usize,
    /// One that is stretched for what is not announced.
    other: usize,
}

impl Counts {
    pub(super) fn of<'a>(accounts: impl Iterator<Item = &'a Account>, stretching: Option<&Stretching>) -> Self {
        let mut counts = Self::default();
        for account in accounts {
            let announced = |kept: &StretchedHash| stretching.filter(|of| kept.is_announced_by(of));
            let count = match account.stretched().map(|kept| (kept, announced(kept))) {
                Some((kept, Some(of))) if of.parameters().first() == Some(&kept.parameters()) => continue,
                Some((_, Some(_))) => &mut counts.older,
                Some((_, None)) => &mut counts.other,
                None if account.has_password() => &mut counts.plain,
                None => continue,
            };
            *count = count.saturating_add(1);
        }
        counts
    }

    /// Whose passwords are no good here, as warnings; and how many have not moved yet.
    pub(super) fn warnings(&self, stretching: Option<&Stretching>) -> Vec<String> {
        let Some(stretching) = stretching else {
            let text = |accounts| {
                format!("warning: {accounts} with a password that is stretched, which is no good without --stretch")
            };
            return if self.other > 0 { vec![text(term::count(self.other, "account"))] } else { Vec::new() };
        };
        let plain = (self.plain > 0).then(|| {
            let accounts = term::count(self.plain, "account");
            if stretching.is_moving() {
                return format!(
                    "note: {accounts} with a password that is not stretched yet: it is from its user's next login on, or if it is set anew with `user \
                     passwd --stretch-realm`"
                );
            }
            format!(
                "warning: {accounts} with a password that is not stretched, which is no good here: set it anew with `user passwd \
                 --stretch-realm`, \
                 or give --stretch-moving meanwhile"
            )
        });
        let older = (self.older > 0).then(|| {
            let accounts = term::count(self.older, "account");
            let factor = if stretching.is_moving() { "" } else { ", without a second factor," };
            format!(
                "note: {accounts} with a password that is stretched at the older parameters: it is at the new ones from its user's next login on{factor} \
                 or if it is set anew with `user passwd --stretch-realm REALM --stretch-parameters PARAMETERS`"
            )
        });
        let other = (self.other > 0).then(|| {
            let accounts = term::count(self.other, "account");
            format!(
                "warning: {accounts} with a password that is stretched for another realm or at other parameters than are announced; \
                 `user show` says which: announce them, too, or set it anew with `user passwd --stretch-realm REALM --stretch-parameters PARAMETERS`"
            )
        });
        [plain, older, other].into_iter().flatten().collect()
    }
}

#[cfg(feature = "sql")]
impl From<countersign_stores::PasswordCounts> for Counts {
    fn from(counts: countersign_stores::PasswordCounts) -> Self {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Self { plain: count(counts.plain), older: count(counts.older), other: count(counts.not_announced) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign::accounts::HashParameters;

    #[test]
    fn a_password_is_due_to_be_stored_anew_where_it_moves_or_is_hashed_too_cheaply() {
        let of = |parameters: &[StretchParameters]| Stretching::new("db.example", parameters).unwrap();
        let [old, new] = [7, 8].map(|memory| StretchParameters::new(memory, 5, 1).unwrap());
        let (only, both, moving) = (of(&[old]), of(&[new, old]), of(&[old]).with_moving());
        let account = |cost: Option<HashParameters>| {
            let mut account = Account::new("alice", [""; 0]).unwrap();
            cost.into_iter().for_each(|cost| account.set_password_with(b"password", cost).unwrap());
            account
        };
        let cheap = HashParameters::new(8, 1, 1).unwrap();
        let (none, weak, good) = (account(None), account(Some(cheap)), account(Some(HashParameters::default())));
        let mut kept = account(None);
        kept.set_stretched(&only.stretch("alice", b"password").unwrap().newest());
        for (account, stretching, due) in [
            (&none, None, false),
            (&none, Some(&moving), false),
            (&weak, None, true),
            (&good, None, false),
            (&good, Some(&only), false),
            (&good, Some(&moving), true),
            (&kept, None, false),
            (&kept, Some(&only), false),
            (&kept, Some(&moving), false),
            (&kept, Some(&both), true),
        ] {
            assert_eq!(is_due(account, stretching, false), due, "{account:?} {stretching:?}");
            assert!(!is_due(account, stretching, true));
        }
    }
}
