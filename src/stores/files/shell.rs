//! Advice: commands that do what they are to do when they are pasted.

use super::FileError;
use std::path::Path;

impl FileError {
    /// A command for a shell that mends it, with the names of files quoted; none where no command can, or where it would have
    /// to name what can't be typed.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Exposed { path, .. } => Some(format!("chmod 600 {}", shell_quoted(path)?)),
            _ => None,
        }
    }
}

/// A path as one word of a shell's command line, and never one of its options; none where it has characters that can't be
/// typed, or is not UTF-8.
///
/// ```
/// use countersign::files::shell_quoted;
///
/// assert_eq!(shell_quoted("server.pem").as_deref(), Some("server.pem"));
/// assert_eq!(shell_quoted("the server.pem").as_deref(), Some("'the server.pem'"));
/// assert_eq!(shell_quoted("-key").as_deref(), Some("./-key"));
/// assert_eq!(shell_quoted("a\nb"), None);
/// ```
pub fn shell_quoted(path: impl AsRef<Path>) -> Option<String> {
    let text = path.as_ref().to_str()?;
    let text = if text.starts_with('-') { format!("./{text}") } else { text.to_owned() };
    if text.chars().any(char::is_control) {
        return None;
    }
    shlex::try_quote(&text).ok().map(String::from)
}
