//! Advice: commands that do what they are to do when they are pasted.

use super::FileError;
use std::path::{Path, PathBuf};

impl FileError {
    /// A command for a shell that mends it, with the names of files quoted; none where no command can, or where it would have
    /// to name what can't be typed. It never writes over what is there.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Exposed { path, .. } => Some(format!("chmod 600 {}", shell_quoted(path)?)),
            Self::Writable { path, .. } => Some(format!("chmod o-w {}", shell_quoted(path)?)),
            Self::Key { path, source } => {
                let cure = source.cure()?;
                let to = free_name(path, cure.extension())?;
                Some(cure.command(&shell_quoted(path)?, &shell_quoted(&to)?))
            }
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

/// `server.pem` gives `server.pub.pem`, or the next such name that is not taken.
fn free_name(path: &Path, extension: &str) -> Option<PathBuf> {
    let stem =
        if path.extension().is_some_and(|extension| extension == "pem") { path.file_stem() } else { path.file_name() };
    let stem = stem?.to_str()?;
    let names = (1..10).map(|number| match number {
        1 => path.with_file_name(format!("{stem}.{extension}")),
        _ => path.with_file_name(format!("{stem}-{number}.{extension}")),
    });
    names.into_iter().find(|name| !name.is_symlink() && !name.exists())
}
