//! What a password is stretched to.

use super::{StretchError, StretchParameters, StretchedHash, Stretching};
use crate::limits;
use crate::terms::error::{Misuse, Reason};
use crate::wire::codec::{self, Bytes, List, Message as _, Stretched, StretchedMessage};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// What a user's password is stretched to, at each set of parameters that a server announces: [`Stretching::stretch`] makes it at the
/// client, and a server's verifier gets it in a [`crate::Credential::Stretched`]. As secret as the password: whoever has it can log in.
/// Zeroized, never printed.
#[derive(Clone)]
pub struct StretchedPassword {
    of: Stretching,
    /// One for each set of parameters, in their order.
    values: Zeroizing<Vec<[u8; limits::STRETCHED]>>,
    /// The password itself, where the server asks for it and the client gives it.
    password: Option<Zeroizing<Vec<u8>>>,
}

impl StretchedPassword {
    #[cfg(feature = "stretch")]
    pub(super) fn compute(of: &Stretching, user: &str, password: &[u8]) -> Result<Self, StretchError> {
        use crate::crypto::{Argon, hash_of};
        if password.is_empty() || password.len() > limits::MAX_SECRET {
            return Err(StretchError::BadPassword);
        }
        of.check_bounds()?;
        // salt = SHA-256(lp("countersign v1 stretch") || lp(realm) || lp(user))
        let salt = hash_of(&[b"countersign v1 stretch", of.realm().as_bytes(), user.as_bytes()]);
        let mut values = Self::room(of);
        for (value, parameters) in values.iter_mut().zip(of.parameters()) {
            let (passes, lanes) = (parameters.passes().into(), parameters.lanes().into());
            let argon = Argon { memory: parameters.kib(), passes, lanes };
            argon.hash(password, &salt, value).ok_or(StretchError::NoMemory)?;
        }
        let password = of.is_moving().then(|| Zeroizing::new(password.to_vec()));
        Ok(Self { of: of.clone(), values, password })
    }

    #[cfg(not(feature = "stretch"))]
    pub(super) fn compute(_: &Stretching, _: &str, _: &[u8]) -> Result<Self, StretchError> {
        Err(StretchError::NotBuilt)
    }

    /// What stands in for one that did not open: all zeros, and no password.
    pub(crate) fn decoy(of: &Stretching) -> Self {
        Self { of: of.clone(), values: Self::room(of), password: None }
    }

    /// Values are written where they stay: what is built elsewhere and moved leaves a copy there.
    fn room(of: &Stretching) -> Zeroizing<Vec<[u8; limits::STRETCHED]>> {
        Zeroizing::new(vec![[0; limits::STRETCHED]; of.parameters().len()])
    }

    /// What it was computed for.
    pub fn stretching(&self) -> &Stretching {
        &self.of
    }

    /// The password itself: there only if the server asks for it ([`Stretching::is_moving`]), and the client gives it. Check it at the same cost where
    /// it is missing.
    pub fn password(&self) -> Option<&[u8]> {
        self.password.as_ref().map(|password| password.as_slice())
    }

    /// Checks it against what the server keeps of the user's password, or does the same work where there is no such user, or nothing is kept of theirs:
    /// a SHA-256 for each set of parameters, and comparisons in constant time. It takes a microsecond.
    ///
    /// # Errors
    /// [`Reason::WrongPassword`]; [`Reason::UnknownUser`] without a stored hash; [`Reason::OtherStretching`] where that is for another realm, or at
    /// parameters that are not announced.
    pub fn check(&self, stored: Option<&StretchedHash>) -> Result<(), Reason> {
        let nobodys = [0; limits::STRETCHED];
        let hash = stored.map_or(&nobodys, |stored| &stored.hash);
        let (mut is_good, mut is_announced) = (Choice::from(0), false);
        for (value, parameters) in self.values.iter().zip(self.of.parameters()) {
            let is_theirs = stored.is_some_and(|stored| stored.is_for(&self.of, *parameters));
            is_good |= StretchedHash::digest(value).ct_eq(hash) & Choice::from(u8::from(is_theirs));
            is_announced |= is_theirs;
        }
        match stored {
            Some(_) if is_good.into() => Ok(()),
            Some(_) if is_announced => Err(Reason::WrongPassword),
            Some(_) => Err(Reason::OtherStretching),
            None => Err(Reason::UnknownUser),
        }
    }

    /// What to keep of it: its hash, at the newest parameters.
    pub fn newest(&self) -> StretchedHash {
        let value = self.values.first().unwrap_or(&[0; limits::STRETCHED]);
        StretchedHash::new(self.of.realm(), self.of.newest(), StretchedHash::digest(value))
    }

    /// The parameters that it was computed at, the newest first.
    pub fn parameters(&self) -> &[StretchParameters] {
        self.of.parameters()
    }

    /// As the secret of a credential.
    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, Misuse> {
        let mut values = List::new();
        for value in self.values.iter() {
            // Never full.
            let _ = values.push(Stretched(value));
        }
        let message = StretchedMessage { values, password: Bytes(self.password().unwrap_or_default()) };
        // It never grows: what is left behind of a buffer that does is not wiped.
        let mut bytes = Zeroizing::new(vec![0; message.encoded_len()]);
        codec::fill(&message, &mut bytes).map_err(|_| Misuse::BadInput("the stretched password"))?;
        Ok(bytes)
    }

    /// From the secret of a credential; `None` where it is not what `of` asks for.
    pub(crate) fn from_bytes(bytes: &[u8], of: &Stretching) -> Option<Self> {
        let StretchedMessage { values, password } = codec::decode(bytes).ok()?;
        let (count, len) = (of.parameters().len(), password.len());
        if values.len() != count || len > limits::MAX_SECRET || (len > 0 && !of.is_moving()) {
            return None;
        }
        let mut kept = Self::room(of);
        kept.iter_mut().zip(values.iter()).for_each(|(kept, value)| kept.copy_from_slice(value.0));
        let password = (len > 0).then(|| Zeroizing::new(password.to_vec()));
        Some(Self { of: of.clone(), values: kept, password })
    }
}

crate::opaque_debug!(StretchedPassword);
