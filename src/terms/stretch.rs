//! Passwords that are stretched at the client (PROTOCOL.md, "Stretching"): what a server announces.

mod error;
mod hash;
mod parameters;
mod password;

pub use error::StretchError;
pub use hash::{ParseStretchedHashError, StretchedHash};
pub use parameters::{ParseStretchParametersError, StretchParameters};
pub use password::StretchedPassword;

use crate::limits;
use crate::terms::error::{Error, Misuse, Violation};
use crate::wire::codec::{self, Extensions, List, ParametersMessage, StretchingMessage, Text};
use core::fmt;
use std::sync::Arc;

/// The number of the extension of a ServerHello in which it stands.
pub(crate) const EXTENSION: u16 = 4;

/// Whether this build can compute it.
pub(crate) const CAN_STRETCH: bool = cfg!(feature = "stretch");

/// What a server announces, to everybody alike, of how its clients stretch passwords: then a login by password costs the server no
/// password hash. Cheap to clone.
///
/// What comes out depends on the password, the user's name, the realm and the parameters alone. So the realm is chosen once: under
/// another one every password has to be set anew.
///
/// ```
/// use countersign::{StretchParameters, Stretching};
///
/// let stretching = Stretching::new("db.example", &[StretchParameters::DEFAULT])?;
/// assert_eq!(stretching.parameters()[0].to_string(), "m=65536,t=3,p=4");
/// # #[cfg(feature = "stretch")] {
/// // What a server keeps of alice's password: enough to check what her client computes, not enough to log in.
/// let weakest = StretchParameters::new(7, 5, 1)?;
/// let stretching = Stretching::new("db.example", &[weakest])?;
/// let stored = stretching.stretch("alice", b"correct horse").map(|stretched| stretched.newest());
/// let shown = stretching.stretch("alice", b"correct horse").unwrap();
/// assert_eq!(shown.check(stored.ok().as_ref()), Ok(()));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Stretching(Arc<Announced>);

#[derive(Clone, PartialEq, Eq)]
struct Announced {
    realm: String,
    /// One or two, the newest first.
    parameters: Vec<StretchParameters>,
    is_moving: bool,
}

impl Stretching {
    /// Passwords of this realm (1 to 255 bytes of printable ASCII without spaces) at these parameters: one set, or two while accounts move
    /// from the second to the first.
    ///
    /// # Errors
    /// [`Misuse`], also where clients would refuse to compute them together ([`StretchError::TooCostly`]).
    pub fn new(realm: impl Into<String>, parameters: &[StretchParameters]) -> Result<Self, Misuse> {
        let realm = realm.into();
        if !is_realm(&realm) {
            return Err(Misuse::BadInput("the realm"));
        }
        let stretching = Self::announced(realm, parameters.to_vec(), false).map_err(|what| match what {
            Fault::None => Misuse::BadInput("the list of stretching parameters"),
            Fault::Duplicate => Misuse::Duplicate("the list of stretching parameters"),
            Fault::TooMany => {
                Misuse::TooMany { what: "the stretching parameters", limit: limits::MAX_STRETCH_PARAMETERS }
            }
        })?;
        stretching.check_bounds().map_err(|_| Misuse::BadInput("the cost of the stretching parameters"))?;
        Ok(stretching)
    }

    fn announced(realm: String, parameters: Vec<StretchParameters>, is_moving: bool) -> Result<Self, Fault> {
        match parameters.as_slice() {
            [] => Err(Fault::None),
            [one, other] if one == other => Err(Fault::Duplicate),
            [_] | [_, _] => Ok(Self(Arc::new(Announced { realm, parameters, is_moving }))),
            _ => Err(Fault::TooMany),
        }
    }

    /// Asks clients for the password itself, too, so that accounts whose password is kept in another way can move at their next login.
    /// As long as it is asked for, every login by stretched password costs the server one password hash.
    #[must_use]
    pub fn with_moving(self) -> Self {
        self.moving(true)
    }

    pub(crate) fn moving(&self, is_moving: bool) -> Self {
        if self.is_moving() == is_moving {
            return self.clone();
        }
        Self(Arc::new(Announced { is_moving, ..Announced::clone(&self.0) }))
    }

    /// What the passwords are for.
    pub fn realm(&self) -> &str {
        &self.0.realm
    }

    /// One or two sets of parameters, the newest first.
    pub fn parameters(&self) -> &[StretchParameters] {
        &self.0.parameters
    }

    /// The set that passwords are stored at from now on.
    pub fn newest(&self) -> StretchParameters {
        // There is one.
        self.0.parameters.first().copied().unwrap_or(StretchParameters::DEFAULT)
    }

    /// Whether the password itself is asked for as well.
    pub fn is_moving(&self) -> bool {
        self.0.is_moving
    }

    /// Whether both are about the same computations.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.realm() == other.realm() && self.parameters() == other.parameters()
    }

    /// Computes what a user's password is stretched to, at each set of parameters: tens of milliseconds of a processor and the memory of
    /// one set, here and now. With [`Stretching::is_moving`] the password goes with it.
    ///
    /// # Errors
    /// [`StretchError`]; [`StretchError::NotBuilt`] without the feature `stretch`.
    pub fn stretch(&self, user: &str, password: &[u8]) -> Result<StretchedPassword, StretchError> {
        StretchedPassword::compute(self, user, password)
    }

    /// Whether a client may compute it: the bounds of PROTOCOL.md, "Stretching".
    pub(crate) fn check_bounds(&self) -> Result<(), StretchError> {
        self.parameters().iter().try_for_each(|parameters| parameters.check_bounds())?;
        let work = self.parameters().iter().map(|parameters| parameters.work()).sum::<u32>();
        if work > limits::MAX_STRETCH_WORK { Err(StretchError::TooCostly(self.newest())) } else { Ok(()) }
    }

    /// As the data of [`EXTENSION`].
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut parameters = List::new();
        for set in self.parameters() {
            // Never full.
            let _ = parameters.push(set.to_message());
        }
        let message = StretchingMessage { realm: Text(self.realm()), parameters, moving: u8::from(self.is_moving()) };
        let mut bytes = Vec::new();
        codec::encode(&message, &mut bytes)?;
        Ok(bytes)
    }

    /// From the extensions of a ServerHello whose server takes stretched passwords.
    pub(crate) fn of(extensions: &Extensions<'_>) -> Result<Self, Violation> {
        let data = extensions.iter().find(|extension| extension.number == EXTENSION);
        let read = data.and_then(|data| {
            let StretchingMessage { realm, parameters, moving } = codec::decode(&data.data).ok()?;
            let sets: Option<Vec<_>> = parameters.iter().map(StretchParameters::from_message).collect();
            let is_moving = match moving {
                0 => false,
                1 => true,
                _ => return None,
            };
            let realm = is_realm(&realm).then(|| realm.0.to_owned())?;
            Self::announced(realm, sets?, is_moving).ok()
        });
        read.ok_or(Violation::BadStretching)
    }
}

/// What is wrong with a list of parameters.
enum Fault {
    None,
    Duplicate,
    TooMany,
}

/// What can stand in a line of text as it is.
pub(crate) fn is_realm(realm: &str) -> bool {
    (1..=limits::MAX_REALM).contains(&realm.len()) && realm.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Debug for Stretching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stretching")
            .field("realm", &self.realm())
            .field("parameters", &self.parameters())
            .field("moving", &self.is_moving())
            .finish()
    }
}

impl StretchParameters {
    fn to_message(self) -> ParametersMessage {
        ParametersMessage { memory: self.memory(), passes: self.passes(), lanes: self.lanes() }
    }

    fn from_message(message: &ParametersMessage) -> Option<Self> {
        Self::of(message.memory, message.passes, message.lanes)
    }
}
