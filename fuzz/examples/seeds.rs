//! Writes the seed corpus, `fuzz/seeds`, anew. Run it after a change of the wire format, and commit what it writes.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for seed in countersign_fuzz::seeds::all() {
        let folder = root.join(seed.target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(seed.name), seed.bytes)?;
    }
    Ok(())
}
