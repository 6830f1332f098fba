//! Runs a target on the inputs of folders, without a fuzzer: `replay TARGET FOLDER...`. For coverage, and for a debugger.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let name = words.next().ok_or("name a target, and then folders of inputs, or files")?;
    let (_, run) =
        countersign_fuzz::TARGETS.iter().find(|(known, _)| *known == name).ok_or("there is no such target")?;
    let mut count = 0;
    for place in words.map(PathBuf::from) {
        let mut files = vec![place.clone()];
        if place.is_dir() {
            files = place.read_dir()?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        }
        for file in files {
            run(&std::fs::read(file)?);
            count += 1;
        }
    }
    println!("{name}: {count} inputs");
    Ok(())
}
