//! Further factors: what a server may ask for after a good credential.

use crate::limits;
use crate::terms::error::{Error, Misuse, Violation};
use crate::wire::codec::{self, Bytes, Extensions, Factor, FactorRequest, Text};
use core::fmt;

/// The number of the extension that offers further factors in a ClientHello, and that asks for one in a verdict.
pub(crate) const EXTENSION: u16 = 5;

/// What a further factor is asked for with: what kind of answer, and what to show to the user.
///
/// ```
/// use countersign::{Form, Prompt};
///
/// let prompt = Prompt::new(Form::Code, "The code that your authenticator shows")?;
/// assert!(Prompt::new(Form::Visible, "nothing \x1b[2J for terminals").is_err());
/// # Ok::<(), countersign::Misuse>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    form: Form,
    text: String,
}

/// What an answer is like. The numbers are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Form {
    /// A code that is good once.
    Code = 1,
    /// Anything that may be seen while it is typed.
    Visible = 2,
    /// Anything that may not.
    Hidden = 3,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Code, Self::Visible, Self::Hidden];

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The form with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.number() == number)
    }
}

impl Prompt {
    /// Asks for an answer of this form, and shows `text` to the user: up to 255 bytes without control characters; may be empty.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn new(form: Form, text: impl Into<String>) -> Result<Self, Misuse> {
        let text = text.into();
        if text.len() > limits::MAX_PROMPT {
            return Err(Misuse::TooLong { what: "the prompt", len: text.len(), limit: limits::MAX_PROMPT });
        }
        if text.chars().any(char::is_control) {
            return Err(Misuse::BadInput("the prompt"));
        }
        Ok(Self { form, text })
    }

    /// What the answer is like.
    pub fn form(&self) -> Form {
        self.form
    }

    /// What to show to the user: the server's words, without control characters, and possibly empty.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As the data of [`EXTENSION`].
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        codec::encode(&FactorRequest { form: self.form.number(), prompt: Text(&self.text) }, &mut bytes)?;
        Ok(bytes)
    }

    /// From the extensions of a verdict that asks for a further factor.
    pub(crate) fn of(extensions: &Extensions<'_>) -> Result<Self, Violation> {
        let request = extensions.iter().find(|extension| extension.number == EXTENSION);
        let request = request.and_then(|extension| codec::decode::<FactorRequest<'_>>(&extension.data).ok());
        let prompt = request.and_then(|FactorRequest { form, prompt }| {
            let form = Form::from_number(form)?;
            Self::new(form, prompt.0).ok()
        });
        prompt.ok_or(Violation::BadFactorRequest)
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether these are the extensions of a client that can be asked for further factors.
pub(crate) fn offers_factors(extensions: &Extensions<'_>) -> bool {
    extensions.iter().any(|extension| extension.number == EXTENSION)
}

/// An answer as a message, if it keeps to the limits.
pub(crate) fn answer(answer: &[u8]) -> Result<Factor<'_>, Misuse> {
    if answer.is_empty() {
        return Err(Misuse::BadInput("the answer"));
    }
    if answer.len() > limits::MAX_ANSWER {
        return Err(Misuse::TooLong { what: "the answer", len: answer.len(), limit: limits::MAX_ANSWER });
    }
    Ok(Factor { answer: Bytes(answer) })
}
