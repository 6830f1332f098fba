//! What edits leave in a folder.

/// How many files there are, but for those that edits lock where they can't lock the file itself.
pub(crate) fn files(folder: &tempfile::TempDir) -> usize {
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let is_lock = |name: &std::ffi::OsStr| cfg!(not(unix)) && name.to_string_lossy().ends_with("-lock");
    names.filter(|name| !is_lock(name)).count()
}
