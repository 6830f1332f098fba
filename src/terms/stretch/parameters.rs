//! What stretching a password takes.

use super::StretchError;
use crate::limits;
use crate::terms::error::codes;
use core::fmt;
use core::str::FromStr;

/// The parameters of Argon2id (RFC 9106) that a password is stretched at. As text, as PHC strings have them: `m=65536,t=3,p=4`, with the memory in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StretchParameters {
    memory: u16,
    passes: u8,
    lanes: u8,
}

impl StretchParameters {
    /// 64 MiB, 3 passes, 4 lanes: what RFC 9106 (section 4) recommends where memory is short. It is the clients that pay for it.
    pub const DEFAULT: Self = Self { memory: 64, passes: 3, lanes: 4 };

    /// So many MiB of memory, passes and lanes, within what clients compute: 7 to 256 MiB, memory times passes from 35 to 1024 MiB, 1 to
    /// 16 lanes.
    ///
    /// # Errors
    /// [`StretchError::TooWeak`], [`StretchError::TooCostly`].
    pub fn new(memory: u16, passes: u8, lanes: u8) -> Result<Self, StretchError> {
        let parameters = Self { memory, passes, lanes };
        parameters.check_bounds().map(|()| parameters)
    }

    /// Any that can be computed at all.
    pub(super) fn of(memory: u16, passes: u8, lanes: u8) -> Option<Self> {
        (memory > 0 && passes > 0 && lanes > 0).then_some(Self { memory, passes, lanes })
    }

    /// Memory in MiB.
    pub const fn memory(self) -> u16 {
        self.memory
    }

    /// Passes over it.
    pub const fn passes(self) -> u8 {
        self.passes
    }

    /// Lanes.
    pub const fn lanes(self) -> u8 {
        self.lanes
    }

    /// Memory in KiB.
    pub(super) const fn kib(self) -> u32 {
        (self.memory as u32) << 10
    }

    /// Memory times passes, in MiB: what it costs a guesser, and a client.
    pub(super) fn work(self) -> u32 {
        u32::from(self.memory).saturating_mul(u32::from(self.passes))
    }

    pub(super) fn check_bounds(self) -> Result<(), StretchError> {
        if self.memory < limits::MIN_STRETCH_MEMORY || self.work() < limits::MIN_STRETCH_WORK || self.lanes == 0 {
            return Err(StretchError::TooWeak(self));
        }
        let is_too_costly = self.memory > limits::MAX_STRETCH_MEMORY
            || self.work() > limits::MAX_STRETCH_WORK
            || self.lanes > limits::MAX_STRETCH_LANES;
        if is_too_costly { Err(StretchError::TooCostly(self)) } else { Ok(()) }
    }
}

impl Default for StretchParameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for StretchParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={},t={},p={}", self.kib(), self.passes, self.lanes)
    }
}

/// Text that is not parameters that clients compute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseStretchParametersError {
    /// It does not have the form.
    #[error(
        "parameters are m=KIB,t=PASSES,p=LANES, each once, with m a multiple of 1024, such as {}",
        StretchParameters::DEFAULT
    )]
    Form,
    /// Clients do not compute that.
    #[error("{0}")]
    Bounds(StretchError),
}

codes!(ParseStretchParametersError {
    Self::Form => "not-stretch-parameters",
    Self::Bounds(error) => error.code(),
});

impl FromStr for StretchParameters {
    type Err = ParseStretchParametersError;

    fn from_str(text: &str) -> Result<Self, ParseStretchParametersError> {
        let (mut memory, mut passes, mut lanes) = (None, None, None);
        for field in text.split(',') {
            let (name, value) = field.split_once('=').ok_or(ParseStretchParametersError::Form)?;
            let slot = match name {
                "m" => &mut memory,
                "t" => &mut passes,
                "p" => &mut lanes,
                _ => return Err(ParseStretchParametersError::Form),
            };
            let value: u32 = value.parse().map_err(|_| ParseStretchParametersError::Form)?;
            if slot.replace(value).is_some() {
                return Err(ParseStretchParametersError::Form);
            }
        }
        let read = || {
            let memory = memory.filter(|memory| memory % 1024 == 0)?;
            let memory = u16::try_from(memory >> 10).ok()?;
            Self::of(memory, u8::try_from(passes?).ok()?, u8::try_from(lanes?).ok()?)
        };
        let parameters = read().ok_or(ParseStretchParametersError::Form)?;
        parameters.check_bounds().map_err(ParseStretchParametersError::Bounds)?;
        Ok(parameters)
    }
}
