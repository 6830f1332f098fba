//! Second factors: an authenticator is set up, and recovery codes are handed out.

use super::AccountArgs;
use crate::failure::Failure;
use crate::{secrets, term};
use clap::Args;
use countersign::UnixTime;
use countersign::accounts::{Account, TotpSecret};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::io::{self, IsTerminal};
use std::time::SystemTime;

/// How often a code may be mistyped before it all begins anew.
const TRIES: usize = 3;

#[derive(Args)]
pub(crate) struct TotpArgs {
    #[command(flatten)]
    account: AccountArgs,
    /// Take the second factor away, with its recovery codes
    #[arg(long, conflicts_with_all = ["no_confirm", "issuer", "recovery_codes"])]
    remove: bool,
    /// Hand out new recovery codes, in the place of those that are left; the authenticator stays
    #[arg(long, conflicts_with_all = ["no_confirm", "issuer"])]
    recovery_codes: bool,
    /// Ask for no code of the authenticator: for scripts, and where somebody else sets it up later
    #[arg(long)]
    no_confirm: bool,
    /// The name that the authenticator shows beside the user's
    #[arg(long, value_name = "NAME", default_value = "countersign", value_parser = issuer)]
    issuer: String,
}

fn issuer(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 || text.contains(':') || text.chars().any(char::is_control) {
        return Err("the name has 1 to 64 bytes, no colon and no control characters".to_owned());
    }
    Ok(text.to_owned())
}

impl TotpArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let Self { account, .. } = self;
        // Before anybody sets an authenticator up in vain.
        let had_one = account.find()?.has_totp();
        if self.remove {
            let was_set = account.edit(|account| Ok(account.remove_totp()))?;
            account.note(if was_set { "took the second factor of" } else { "had no second factor:" });
            return Ok(());
        }
        if self.recovery_codes {
            let codes = account.edit(Account::issue_recovery_codes)?;
            return print(&codes);
        }
        let secret = TotpSecret::generate()?;
        self.show(&secret)?;
        if !self.no_confirm {
            self.confirm(&secret)?;
        }
        let codes = account.edit(|account| {
            account.set_totp(&secret);
            account.issue_recovery_codes()
        })?;
        account.note(if had_one { "replaced the second factor of" } else { "set the second factor of" });
        print(&codes)
    }

    /// The URL, and on a terminal the QR code of it: both hold the secret.
    fn show(&self, secret: &TotpSecret) -> Result<(), Failure> {
        let url = secret.url(&self.issuer, &self.account.name);
        if io::stdout().is_terminal() {
            term::note("scan this with an authenticator; whoever sees it can make the codes:");
            let code = QrCode::new(url.as_bytes()).map_err(|error| {
                Failure::new(format_args!("the QR code can't be drawn: {error}; give --issuer a shorter name"))
            })?;
            // Light on dark, as most terminals are; authenticators read it either way.
            let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
            term::line(drawn)?;
            term::note(format_args!("or type in the secret: {}", secret.to_base32().as_str()));
        }
        term::line(url.as_str())
    }

    /// Nothing is saved before the authenticator is known to show the right codes.
    fn confirm(&self, secret: &TotpSecret) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let code = secrets::ask_shown("The code that it shows now: ", "to go without, give --no-confirm")?;
            if secret.confirms(&code, UnixTime::from_system(SystemTime::now())) {
                return Ok(());
            }
            term::note("that is not the code; is the clock of the authenticator right, and of this machine?");
        }
        Err(Failure::new("no right code was given, so nothing was changed; try again, with a new secret"))
    }
}

/// Recovery codes, on standard output, once.
fn print(codes: &[impl std::ops::Deref<Target = str>]) -> Result<(), Failure> {
    codes.iter().try_for_each(|code| term::line(&**code))?;
    term::note(
        "each of these recovery codes is good for one login without the authenticator; they will not be shown again, so keep \
         them where it is not",
    );
    Ok(())
}
