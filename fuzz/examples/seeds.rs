//! Writes the seed corpus, `fuzz/seeds`, anew. Run it after a change of the wire format, and commit what it writes.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    if root.is_dir() {
        fs::remove_dir_all(&root)?;
    }
    for seed in countersign_fuzz::seeds::all() {
        let folder = root.join(seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(seed.name), seed.bytes)?;
    }
    Ok(())
}
